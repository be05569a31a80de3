"""An agent: asks a model, does what it asks for, and brings the result back.

    agent.py URL

What was executed is printed: one line of JSON for each command, with its pid.
"""

import json
import subprocess
import sys
import urllib.request

URL = sys.argv[1] + "/v1/chat/completions"


def ask(messages):
    tool = {"type": "function", "function": {"name": "run_command", "parameters": {"type": "object"}}}
    body = json.dumps({"messages": messages, "tools": [tool]}).encode()
    request = urllib.request.Request(URL, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["choices"][0]["message"]


def run(*command):
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.communicate()[0]
    print(json.dumps({"pid": process.pid, "command": command}), flush=True)
    return output.decode()


messages = [{"role": "user", "content": "what is in my folder?"}]
run("true", "before any tool was asked for")
while "tool_calls" in (message := ask(messages)):
    messages.append(message)
    for call in message["tool_calls"]:
        command = json.loads(call["function"]["arguments"])["command"]
        # Two processes: a shell that stays, and what it starts.
        result = run("sh", "-c", command + "; true")
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
run("true", "after the result was brought back")
