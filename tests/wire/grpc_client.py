"""A gRPC client of grpc_server.py. Usage: grpc_client.py PORT

For each line of stdin, which is a kind of call, it makes the call on its one channel and says what it sent and got:
one JSON object with the status and the SHA-256 of all messages of each direction.
"""

import hashlib
import json
import sys

import grpc

SERVICE = "/inference.GRPCInferenceService/"
channel = grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}")
unary = channel.unary_unary(SERVICE + "ModelInfer")
bidi = channel.stream_stream(SERVICE + "ModelStreamInfer")
live = channel.unary_unary(SERVICE + "ServerLive")
LONG = b"a prompt that is long enough to be compressed, " * 4000


def ask(method, request, **options):
    try:
        return "OK", [request], [method(request, **options)]
    except grpc.RpcError as error:
        return error.code().name, [request], []


def stream():
    requests = [b"message %d of a stream" % number for number in range(5)]
    return "OK", requests, list(bidi(iter(requests)))


CALLS = {
    "short": lambda: ask(unary, b"what is a model"),
    "compressed": lambda: ask(unary, LONG, compression=grpc.Compression.Gzip),
    "missing": lambda: ask(unary, b"missing"),
    "stream": stream,
    "live": lambda: ask(live, b""),
}


def digest(messages):
    return "sha256:" + hashlib.sha256(b"".join(messages)).hexdigest()


for line in sys.stdin:
    kind = line.strip()
    status, sent, got = CALLS[kind]()
    said = {"kind": kind, "status": status, "request": digest(sent), "response": digest(got), "answers": len(got)}
    print(json.dumps(said), flush=True)
