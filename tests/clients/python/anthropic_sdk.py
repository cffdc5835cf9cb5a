"""The Anthropic SDK: messages."""

import anthropic

from shared import ABORTED, BROKEN, CITY, COMPLETE, COMPRESSED, CUT, FAILED_LATE, PROMPT, REFUSED, SLOW, TAKEN, TEXT, THINK, TOOL, TRUNCATED
from shared import Call, plain, take

MODEL = "claude-sonnet-4-5"
ALL = {"api": "anthropic.messages", "request_model": MODEL}
TOOLS = [{"name": "get_weather", "input_schema": CITY}]


def client(base, headers):
    return anthropic.Anthropic(base_url=base, api_key="sk-test", max_retries=0, default_headers=headers)


def usage(u):
    """Anthropic counts the cache beside the input."""
    read, write = u.cache_read_input_tokens or 0, u.cache_creation_input_tokens or 0
    return {
        "usage.input": u.input_tokens + read + write,
        "usage.output": u.output_tokens,
        "usage.cache_read": u.cache_read_input_tokens,
        "usage.cache_write": u.cache_creation_input_tokens,
    }


def message(most=None, **more):
    def run(base, headers, chunks):
        with client(base, headers) as sdk:
            stream = sdk.messages.create(
                model=MODEL, max_tokens=2000, messages=[{"role": "user", "content": PROMPT}], stream=True, **more
            )
            taken = take(stream, chunks, most)
            stream.close()
        start = taken[0].message
        facts = {"response_id": start.id, "response_model": start.model, "max_tokens": 2000, "stream": True}
        if most is not None:
            return facts
        [delta] = [event for event in taken if event.type == "message_delta"]
        begun = [event.content_block for event in taken if event.type == "content_block_start"]
        return {
            **facts,
            **usage(delta.usage),
            "finish_reasons": [delta.delta.stop_reason],
            "tools": [block.name for block in begun if block.type == "tool_use"] or None,
        }

    return run


def message_whole(base, headers, chunks):
    with client(base, headers) as sdk:
        answer = sdk.messages.create(model=MODEL, max_tokens=2000, messages=[{"role": "user", "content": PROMPT}])
    chunks.append(plain(answer))
    return {
        **usage(answer.usage),
        "response_id": answer.id,
        "response_model": answer.model,
        "finish_reasons": [answer.stop_reason],
        "stream": False,
    }


def count(base, headers, chunks):
    with client(base, headers) as sdk:
        chunks.append(plain(sdk.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": PROMPT}])))


def calls(variant):
    compressed = [
        Call("stream", TEXT, message(), {**ALL, **COMPLETE}),
        Call("whole", TEXT, message_whole, {**ALL, **COMPLETE}),
    ]
    if variant in COMPRESSED:
        return compressed
    thinking = {"type": "enabled", "budget_tokens": 1024}
    return compressed + [
        Call("stream gzip", TEXT + ",encoding=gzip", message(), {**ALL, **COMPLETE}),
        Call("stream in small pieces", TEXT + ",chunk=7", message(), {**ALL, **COMPLETE}),
        Call("stream with tool", TOOL, message(tools=TOOLS), {**ALL, **COMPLETE, "tools": ["get_weather"]}),
        Call("stream with thoughts", THINK, message(thinking=thinking), {**ALL, **COMPLETE}),
        Call("refused", REFUSED, message(), {**ALL, "ended": "error", "status": 429, "error_type": "rate_limit_error"}),
        Call("stream with error", BROKEN, message(), {**ALL, **FAILED_LATE, "error_type": "overloaded_error"}),
        Call("stream cut", CUT, message(most=100), {**ALL, **TRUNCATED}),
        Call("stream left", SLOW, message(most=TAKEN), {**ALL, **ABORTED}),
        Call("count tokens", "", count, {"api": "other", "ended": "complete", "usage.source": "none"}),
    ]
