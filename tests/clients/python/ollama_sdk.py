"""The Ollama SDK: chat and generate, in lines of JSON."""

import ollama

from shared import ABORTED, COMPLETE, COMPRESSED, CUT, PROMPT, REFUSED, SLOW, TAKEN, TEXT, TRUNCATED
from shared import Call, plain, take

MODEL = "llama3.2:1b"
ALL = {"request_model": MODEL}


def facts(last):
    return {
        "usage.input": last.prompt_eval_count,
        "usage.output": last.eval_count,
        "response_model": last.model,
        "finish_reasons": [last.done_reason],
        "time.server.total_ms": round(last.total_duration / 1e6, 3),
        "time.server.load_ms": round(last.load_duration / 1e6, 3),
        "time.server.prompt_ms": round(last.prompt_eval_duration / 1e6, 3),
        "time.server.decode_ms": round(last.eval_duration / 1e6, 3),
    }


def chat(most=None):
    def run(base, headers, chunks):
        sdk = ollama.Client(host=base, headers=headers)
        stream = sdk.chat(model=MODEL, messages=[{"role": "user", "content": PROMPT}], stream=True)
        taken = take(stream, chunks, most)
        stream.close()
        return {"response_model": taken[0].model} if most is not None else {**facts(taken[-1]), "stream": True}

    return run


def chat_whole(base, headers, chunks):
    answer = ollama.Client(host=base, headers=headers).chat(model=MODEL, messages=[{"role": "user", "content": PROMPT}])
    chunks.append(plain(answer))
    return {**facts(answer), "stream": False}


def generate(base, headers, chunks):
    stream = ollama.Client(host=base, headers=headers).generate(model=MODEL, prompt=PROMPT, stream=True)
    return {**facts(take(stream, chunks)[-1]), "stream": True}


def calls(variant):
    compressed = [
        Call("chat stream", TEXT, chat(), {**ALL, **COMPLETE, "api": "ollama.chat"}),
        Call("chat", TEXT, chat_whole, {**ALL, **COMPLETE, "api": "ollama.chat"}),
    ]
    if variant in COMPRESSED:
        return compressed
    return compressed + [
        Call("chat stream in small pieces", TEXT + ",chunk=7", chat(), {**ALL, **COMPLETE, "api": "ollama.chat"}),
        Call("chat refused", REFUSED, chat(), {**ALL, "ended": "error", "status": 429}),
        Call("chat stream cut", CUT, chat(most=100), {**ALL, **TRUNCATED}),
        Call("chat stream left", SLOW, chat(most=TAKEN), {**ALL, **ABORTED}),
        Call("generate stream", TEXT, generate, {**ALL, **COMPLETE}),
    ]
