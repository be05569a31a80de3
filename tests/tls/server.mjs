// An echo of OpenAI's chat completions over TLS, or, without a key, over plain HTTP/2.
// Usage: node server.mjs PORT [KEY CERTIFICATE]
//
// What it answers is in tests/src/tls.rs. Each chunk of a stream is a write of its own in a turn of its own, so that
// streams mix as those of a server that computes.

import { readFileSync } from "node:fs";
import { createServer as createH2 } from "node:http2";
import { createServer } from "node:https";

const [port, key, cert] = process.argv.slice(2);
let chats = 0;

const sendJson = (response, status, value) => {
  const body = JSON.stringify(value);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  response.end(body);
};
const refuse = (response, status, message) =>
  sendJson(response, status, { error: { message, type: "invalid_request_error" } });
const words = (text) => text.match(/[^ ]* |[^ ]+$/g) ?? [];
const turn = () => new Promise((resolve) => setImmediate(resolve));

const readBody = async (request) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces).toString();
};

const stream = async (response, head, pieces, usage) => {
  const send = async (value) => {
    response.write(`data: ${JSON.stringify(value)}\n\n`);
    await turn();
  };
  const chunk = (delta, finish_reason = null) => ({ ...head, choices: [{ index: 0, delta, finish_reason }] });
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  await send(chunk({ role: "assistant", content: "" }));
  for (const content of pieces) await send(chunk({ content }));
  await send(chunk({}, "stop"));
  if (usage) await send({ ...head, choices: [], usage });
  response.end("data: [DONE]\n\n");
};

const chat = async (request, response) => {
  let asked;
  let last;
  try {
    asked = JSON.parse(await readBody(request));
    last = asked.messages.at(-1).content;
  } catch {}
  if (typeof last !== "string") return refuse(response, 400, "no text in the last message");
  chats += 1;
  const content = `echo ${chats}: ${last}`;
  const pieces = words(content);
  const [prompt_tokens, completion_tokens] = [words(last).length, pieces.length];
  const usage = { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
  const head = { id: `chatcmpl-${chats}`, created: 1, model: asked.model ?? "echo" };
  if (asked.stream) {
    const wanted = asked.stream_options?.include_usage ? usage : undefined;
    return stream(response, { ...head, object: "chat.completion.chunk" }, pieces, wanted);
  }
  const choice = { index: 0, message: { role: "assistant", content }, finish_reason: "stop" };
  return sendJson(response, 200, { ...head, object: "chat.completion", choices: [choice], usage });
};

const answer = (request, response) => {
  if (request.method === "GET" && request.url === "/health") return sendJson(response, 200, { status: "ok" });
  if (request.method === "POST" && request.url === "/v1/chat/completions") return chat(request, response);
  return refuse(response, 404, "no such route");
};

const server = key
  ? createServer({ key: readFileSync(key), cert: readFileSync(cert) }, answer)
  : createH2(answer);
server.listen(Number(port), "127.0.0.1");
