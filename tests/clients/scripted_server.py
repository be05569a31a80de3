"""A server that asks for a command, and is content with its result.

    scripted_server.py PORT COMMAND
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Scripted(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer({"status": "ok"})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message, finish = {"role": "assistant", "content": "done"}, "stop"
        if request["messages"][-1]["role"] == "user":
            arguments = json.dumps({"command": sys.argv[2]})
            function = {"name": "run_command", "arguments": arguments}
            call = {"id": "call_0123456789", "type": "function", "function": function}
            message, finish = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
        choice = {"index": 0, "message": message, "finish_reason": finish}
        self.answer({"id": "chatcmpl-1", "object": "chat.completion", "model": "scripted", "choices": [choice]})

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Scripted).serve_forever()
