"""Calls a server through the `openai` package and prints what the caller saw.

Usage: openai_client.py BASE_URL API_KEY <calls.jsonl

Each line of stdin is {"lane": N, "request": {...}}; lanes run at the same time, each over one keep-alive
connection of its own, calls of one lane one after the other. Each line of stdout answers one call:
{"lane", "request", "status", "text", "finish_reason", "usage", "tool_calls", "error_type",
"error_message"}; the first line says {"pid", "exe"}.
"""

import json
import os
import sys
import threading

import openai


def observe_plain(client, request, seen):
    raw = client.chat.completions.with_raw_response.create(**request)
    seen["status"] = raw.http_response.status_code
    answer = raw.parse()
    choice = answer.choices[0]
    seen["text"] = choice.message.content or ""
    seen["finish_reason"] = choice.finish_reason
    seen["usage"] = answer.usage and answer.usage.model_dump()
    for call in choice.message.tool_calls or []:
        seen["tool_calls"].append({"name": call.function.name, "arguments": call.function.arguments})


def observe_stream(client, request, seen):
    seen["text"] = ""
    stream = client.chat.completions.create(**request)
    seen["status"] = stream.response.status_code
    for chunk in stream:
        if chunk.usage:
            seen["usage"] = chunk.usage.model_dump()
        for choice in chunk.choices:
            seen["text"] += choice.delta.content or ""
            seen["finish_reason"] = choice.finish_reason or seen["finish_reason"]


def observe(client, lane, request):
    seen = {"lane": lane, "request": request, "status": None, "text": None, "finish_reason": None, "usage": None}
    seen |= {"tool_calls": [], "error_type": None, "error_message": None}
    try:
        (observe_stream if request.get("stream") else observe_plain)(client, request, seen)
    except openai.APIError as error:
        # An error inside a stream comes without a status of its own: the 200 stays.
        seen["status"] = getattr(error, "status_code", None) or seen["status"]
        body = error.body if isinstance(error.body, dict) else {}
        seen["error_type"] = body.get("type")
        seen["error_message"] = body.get("message") or str(error)
    return seen


def main():
    base_url, api_key = sys.argv[1:]
    lanes = {}
    for line in sys.stdin:
        call = json.loads(line)
        lanes.setdefault(call["lane"], []).append(call["request"])
    printing = threading.Lock()
    # So that the first calls of all lanes really meet.
    together = threading.Barrier(len(lanes))

    def say(value):
        with printing:
            print(json.dumps(value), flush=True)

    def run(lane, requests):
        with openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0, timeout=120) as client:
            together.wait()
            for request in requests:
                say(observe(client, lane, request))

    say({"pid": os.getpid(), "exe": os.readlink("/proc/self/exe")})
    threads = [threading.Thread(target=run, args=lane) for lane in lanes.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
