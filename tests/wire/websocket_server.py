"""A realtime session of few words. Usage: websocket_server.py PORT

For each `response.create` it says `response.created`, some deltas, one of them long and in fragments, and `response.done`.
A `fail` ends the session with 1011.
"""

import asyncio
import json
import sys

from websockets.asyncio.server import serve

LONG = "a long delta of a realtime session " * 3000


def pieces(text, count=4):
    step = len(text) // count + 1
    return [text[at : at + step] for at in range(0, len(text), step)]


async def respond(socket):
    say = lambda kind, **members: json.dumps({"type": kind, **members})
    await socket.send(say("response.created"))
    for number in range(10):
        await socket.send(say("response.output_text.delta", delta=f"größe {number} "))
        await socket.ping()
    await socket.send(pieces(say("response.output_text.delta", delta=LONG)))
    await socket.send(bytes(range(256)))
    await socket.send(say("response.done", usage={"output_tokens": 11}))


async def session(socket):
    async for message in socket:
        event = json.loads(message)
        if event["type"] == "fail":
            await socket.close(1011, "out of memory")
            return
        if event["type"] == "response.create":
            await respond(socket)


async def main():
    async with serve(session, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()


asyncio.run(main())
