"""A gRPC server of KServe's service without its messages, which are bytes here. Usage: grpc_server.py PORT

ModelInfer gives its request back, compressed when that is longer than 1000 bytes, and NOT_FOUND for `missing`.
ModelStreamInfer gives each message three times. ServerLive gives nothing.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

SERVICE = "inference.GRPCInferenceService"
REPEATS = 3


def infer(request, context):
    if request == b"missing":
        context.abort(grpc.StatusCode.NOT_FOUND, 'no model "a/b", 100% sure: größe')
    if len(request) > 1000:
        context.set_compression(grpc.Compression.Gzip)
    return request


def stream(requests, context):
    for request in requests:
        for number in range(REPEATS):
            yield b"%d:" % number + request


HANDLERS = {
    "ModelInfer": grpc.unary_unary_rpc_method_handler(infer),
    "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(stream),
    "ServerLive": grpc.unary_unary_rpc_method_handler(lambda request, context: b""),
}

server = grpc.server(ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, HANDLERS),))
if server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}") == 0:
    sys.exit("the port is taken")
server.start()
server.wait_for_termination()
