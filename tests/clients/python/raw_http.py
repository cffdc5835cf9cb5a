"""No SDK: the bytes themselves, over HTTP/1.1 and HTTP/2, of every format."""

import base64
import json

import httpx

from shared import COMPLETE, COMPRESSED, PROMPT, TEXT
from shared import Call

MESSAGES = [{"role": "user", "content": PROMPT}]
GEMINI = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": PROMPT}]}]}
CLAUDE = "/model/anthropic.claude-3-haiku-20240307-v1%3A0"

# Path and body of a streamed call in each format, and the API it is.
STREAMS = {
    "openai chat": ("/v1/chat/completions", {"model": "m", "stream": True, "messages": MESSAGES}, "openai.chat_completions"),
    "openai completions": ("/v1/completions", {"model": "m", "stream": True, "prompt": PROMPT}, "openai.completions"),
    "openai responses": ("/v1/responses", {"model": "m", "stream": True, "input": PROMPT}, "openai.responses"),
    "anthropic": ("/v1/messages", {"model": "m", "stream": True, "max_tokens": 99, "messages": MESSAGES}, "anthropic.messages"),
    "gemini": ("/v1beta/models/m:streamGenerateContent?alt=sse", GEMINI, "gemini.generate_content"),
    "gemini as array": ("/v1beta/models/m:streamGenerateContent", GEMINI, "gemini.generate_content"),
    "bedrock converse": (f"{CLAUDE}/converse-stream", CONVERSE, "bedrock.converse"),
    "bedrock invoke": (f"{CLAUDE}/invoke-with-response-stream", {"max_tokens": 99, "messages": MESSAGES}, "bedrock.invoke"),
    "cohere v2": ("/v2/chat", {"model": "m", "stream": True, "messages": MESSAGES}, "cohere.chat_v2"),
    "cohere v1": ("/v1/chat", {"model": "m", "stream": True, "message": PROMPT}, "cohere.chat_v1"),
    "ollama chat": ("/api/chat", {"model": "m", "messages": MESSAGES}, "ollama.chat"),
}


def raw(path, body, http2):
    """The body exactly as it came over the wire, and the headers that say what it is."""

    def run(base, headers, chunks):
        with httpx.Client(http1=not http2, http2=http2, timeout=60) as client:
            sent = {**headers, "content-type": "application/json", "accept-encoding": "identity"}
            with client.stream("POST", base + path, headers=sent, content=json.dumps(body)) as answer:
                came = b"".join(answer.iter_raw())
                kept = {name: answer.headers.get(name) for name in ("content-type", "content-encoding")}
        chunks.append({"status": answer.status_code, **kept, "body": base64.b64encode(came).decode()})

    return run


def calls(variant):
    if variant in COMPRESSED:
        return  # Envoy compresses there, so bytes differ by design
    for name, (path, body, api) in STREAMS.items():
        for encoding in ("", "gzip", "deflate"):
            steer = TEXT + (f",encoding={encoding}" if encoding else "")
            facts = {"api": api, "ended": "complete", "status": 200, "stream": True, "unread": 0}
            yield Call(f"{name} {encoding or 'plain'}", steer, raw(path, body, variant == "http2"), facts)
