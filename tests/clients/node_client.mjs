// Calls a server through node's own `https` module and prints what the caller saw.
//
// Usage: node node_client.mjs BASE_URL API_KEY <calls.jsonl
//
// In and out are those of openai_client.py; NODE_EXTRA_CA_CERTS names the authority to trust.

import { readlinkSync } from "node:fs";
import { Agent, request as open } from "node:https";
import { text } from "node:stream/consumers";

const [baseUrl, apiKey] = process.argv.slice(2);

const post = (agent, body) =>
  new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${apiKey}`, "Content-Type": "application/json" };
    const options = { method: "POST", agent, headers };
    open(`${baseUrl}/chat/completions`, options, resolve).on("error", reject).end(JSON.stringify(body));
  });

async function* events(response) {
  let rest = "";
  for await (const piece of response.setEncoding("utf8")) {
    const lines = (rest + piece).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
  }
}

const observeStream = async (response, seen) => {
  seen.text = "";
  for await (const event of events(response)) {
    if (event.error) Object.assign(seen, { error_type: event.error.type, error_message: event.error.message });
    seen.usage = event.usage ?? seen.usage;
    for (const choice of event.choices ?? []) {
      seen.text += choice.delta.content ?? "";
      seen.finish_reason = choice.finish_reason ?? seen.finish_reason;
    }
  }
};

const observePlain = (answer, seen) => {
  const [choice] = answer.choices;
  seen.text = choice.message.content ?? "";
  seen.finish_reason = choice.finish_reason;
  seen.usage = answer.usage ?? null;
  for (const { function: called } of choice.message.tool_calls ?? [])
    seen.tool_calls.push({ name: called.name, arguments: called.arguments });
};

const observe = async (agent, lane, request) => {
  const seen = { lane, request, status: null, text: null, finish_reason: null, usage: null };
  Object.assign(seen, { tool_calls: [], error_type: null, error_message: null });
  const response = await post(agent, request);
  seen.status = response.statusCode;
  if (response.statusCode !== 200) {
    const { error } = JSON.parse(await text(response));
    return Object.assign(seen, { error_type: error?.type ?? null, error_message: error?.message ?? null });
  }
  if (request.stream) await observeStream(response, seen);
  else observePlain(JSON.parse(await text(response)), seen);
  return seen;
};

const lanes = new Map();
for (const line of (await text(process.stdin)).split("\n").filter(Boolean)) {
  const { lane, request } = JSON.parse(line);
  lanes.set(lane, [...(lanes.get(lane) ?? []), request]);
}
const say = (value) => console.log(JSON.stringify(value));
const run = async ([lane, requests]) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (const request of requests) say(await observe(agent, lane, request));
  agent.destroy();
};
say({ pid: process.pid, exe: readlinkSync("/proc/self/exe") });
await Promise.all([...lanes].map(run));
