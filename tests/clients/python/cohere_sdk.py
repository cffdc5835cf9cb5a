"""The Cohere SDK: chat v2."""

import cohere

from shared import ABORTED, COMPLETE, COMPRESSED, CUT, PROMPT, REFUSED, SLOW, TAKEN, TEXT, TRUNCATED
from shared import Call, plain, take

MODEL = "command-a-03-2025"
ALL = {"api": "cohere.chat_v2", "request_model": MODEL, "response_model": None}
MESSAGES = [{"role": "user", "content": PROMPT}]


def options(headers):
    return {"additional_headers": headers, "max_retries": 0}


def usage(u):
    return {"usage.input": int(u.tokens.input_tokens), "usage.output": int(u.tokens.output_tokens)}


def chat(most=None):
    def run(base, headers, chunks):
        sdk = cohere.ClientV2(api_key="k", base_url=base)
        stream = sdk.chat_stream(model=MODEL, messages=MESSAGES, request_options=options(headers))
        taken = take(stream, chunks, most)
        stream.close()
        if most is not None:
            return {"response_id": taken[0].id}
        end = taken[-1].delta
        return {**usage(end.usage), "finish_reasons": [end.finish_reason], "response_id": taken[0].id, "stream": True}

    return run


def chat_whole(base, headers, chunks):
    sdk = cohere.ClientV2(api_key="k", base_url=base)
    answer = sdk.chat(model=MODEL, messages=MESSAGES, request_options=options(headers))
    chunks.append(plain(answer))
    return {**usage(answer.usage), "finish_reasons": [answer.finish_reason], "response_id": answer.id, "stream": False}


def calls(variant):
    compressed = [
        Call("stream", TEXT, chat(), {**ALL, **COMPLETE}),
        Call("whole", TEXT, chat_whole, {**ALL, **COMPLETE}),
    ]
    if variant in COMPRESSED:
        return compressed
    return compressed + [
        Call("stream in small pieces", TEXT + ",chunk=7", chat(), {**ALL, **COMPLETE}),
        Call("refused", REFUSED, chat(), {**ALL, "ended": "error", "status": 429}),
        Call("stream cut", CUT, chat(most=100), {**ALL, **TRUNCATED}),
        Call("stream left", SLOW, chat(most=TAKEN), {**ALL, **ABORTED}),
    ]
