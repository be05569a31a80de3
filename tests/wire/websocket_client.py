"""A client of websocket_server.py. Usage: websocket_client.py PORT deflate|plain fine|fail

Says as JSON the SHA-256 of all messages of each direction, how many came, and what was agreed.
"""

import asyncio
import hashlib
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def raw(message):
    return message.encode() if isinstance(message, str) else message


def digest(messages):
    return "sha256:" + hashlib.sha256(b"".join(map(raw, messages))).hexdigest()


async def ask(socket, sent, got):
    sent.append(json.dumps({"type": "response.create", "instructions": "say something " * 50}))
    await socket.send(sent[-1])
    while True:
        got.append(await socket.recv())
        if isinstance(got[-1], str) and json.loads(got[-1])["type"] == "response.done":
            return


async def main(port, coding, end):
    sent, got = [], []
    compression = "deflate" if coding == "deflate" else None
    async with connect(f"ws://127.0.0.1:{port}/v1/realtime?model=echo", compression=compression) as socket:
        agreed = socket.response.headers.get("Sec-WebSocket-Extensions")
        for _ in range(2):
            await ask(socket, sent, got)
        if end == "fail":
            sent.append(json.dumps({"type": "fail"}))
            await socket.send(sent[-1])
            try:
                await socket.recv()
            except ConnectionClosed:
                pass
    said = {"request": digest(sent), "response": digest(got), "answers": len(got), "agreed": agreed}
    print(json.dumps(said))


asyncio.run(main(*sys.argv[1:]))
