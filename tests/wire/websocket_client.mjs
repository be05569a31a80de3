// The WebSocket client inside node, with websocket_server.py. Usage: node --experimental-websocket websocket_client.mjs PORT
//
// Says as JSON the SHA-256 of all messages of each direction and how many came.

import { createHash } from "node:crypto";

const digest = (messages) => {
  const hash = createHash("sha256");
  for (const message of messages) hash.update(message);
  return `sha256:${hash.digest("hex")}`;
};

const [port] = process.argv.slice(2);
const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/realtime?model=echo`);
socket.binaryType = "arraybuffer";
const [sent, got] = [[], []];

socket.onopen = () => {
  sent.push(JSON.stringify({ type: "response.create", instructions: "größe" }));
  socket.send(sent.at(-1));
};
socket.onmessage = ({ data }) => {
  got.push(typeof data === "string" ? data : new Uint8Array(data));
  if (typeof data === "string" && JSON.parse(data).type === "response.done") socket.close(1000);
};
socket.onclose = () => {
  const answers = got.length;
  console.log(JSON.stringify({ request: digest(sent), response: digest(got), answers, agreed: socket.extensions || null }));
};
