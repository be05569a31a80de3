"""A server that asks another server: reads a request, writes it anew, and answers what it is answered.

    front.py PORT URL [CA]

One thread for each connection, and one connection to the other server for each of them, which is kept.
A request with the header X-Ask-Twice is asked twice.
"""

import http.client
import json
import ssl
import sys
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

UPSTREAM = urllib.parse.urlsplit(sys.argv[2])
CA = sys.argv[3] if len(sys.argv) > 3 else None
FORWARDED = ("traceparent", "x-request-id")


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        if CA:
            context = ssl.create_default_context(cafile=CA)
            self.upstream = http.client.HTTPSConnection(UPSTREAM.hostname, UPSTREAM.port, context=context)
        else:
            self.upstream = http.client.HTTPConnection(UPSTREAM.hostname, UPSTREAM.port)

    def finish(self):
        self.upstream.close()
        super().finish()

    def ask(self, request):
        # Another order of members, other spaces, and one member more: no byte is forwarded as it was.
        body = json.dumps({"cache_prompt": False, **dict(reversed(request.items()))}, indent=1)
        headers = {"Content-Type": "application/json"}
        for name in FORWARDED:
            if name in self.headers:
                headers[name] = self.headers[name]
        self.upstream.request("POST", self.path, body, headers)
        response = self.upstream.getresponse()
        return response.status, response.read()

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "X-Ask-Twice" in self.headers:
            self.ask(request)
        status, body = self.ask(request)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Front).serve_forever()
