// An HTTP/2 client on one connection. Usage: node h2_client.mjs URL
//
// For each line of stdin, {"path", "body"}, it makes a request and says {"status", "body"}; requests that are there at once
// are made at once.

import { connect } from "node:http2";
import { createInterface } from "node:readline";

const session = connect(process.argv[2]);
const open = [];

const ask = ({ path, body }) =>
  new Promise((resolve, reject) => {
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/json" });
    const said = { status: 0, body: "" };
    stream.setEncoding("utf8");
    stream.on("response", (head) => (said.status = head[":status"]));
    stream.on("data", (data) => (said.body += data));
    stream.on("end", () => resolve(said));
    stream.on("error", reject);
    stream.end(JSON.stringify(body));
  });

for await (const line of createInterface({ input: process.stdin })) {
  open.push(ask(JSON.parse(line)).then((said) => console.log(JSON.stringify(said))));
}
await Promise.all(open);
session.close();
