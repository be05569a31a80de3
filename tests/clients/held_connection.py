"""Keeps one connection alive and posts on it when told to.

Usage: held_connection.py HOST PORT PATH [CA]

Speaks TLS where the file of an authority to trust is given.
Opens the connection, then asks /health once in half a second, so that the server does not close it. Each
line of stdin is a request body, posted on that same connection; each line of stdout says what came back:
{"pid", "exe", "port", "status", "text"}. The line "connected" comes first. Ends with stdin.
"""

import http.client
import json
import os
import select
import ssl
import sys


def ask(connection, method, path, body=None):
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def connect(host, port, authority=None):
    if authority is None:
        return http.client.HTTPConnection(host, int(port), timeout=60)
    context = ssl.create_default_context(cafile=authority)
    return http.client.HTTPSConnection(host, int(port), timeout=60, context=context)


def main():
    host, port, path, *authority = sys.argv[1:]
    connection = connect(host, port, *authority)
    connection.connect()
    local_port = connection.sock.getsockname()[1]
    print("connected", flush=True)
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], 0.5)
        if not ready:
            ask(connection, "GET", "/health")
            continue
        line = sys.stdin.readline()
        if not line:
            return
        status, text = ask(connection, "POST", path, line.strip())
        if connection.sock is None or connection.sock.getsockname()[1] != local_port:
            sys.exit("the server closed the connection that was to be held")
        seen = {"pid": os.getpid(), "exe": os.readlink("/proc/self/exe"), "port": local_port}
        print(json.dumps(seen | {"status": status, "text": text}), flush=True)


if __name__ == "__main__":
    main()
