"""The Mistral SDK: chat, in OpenAI's format."""

from mistralai.client import Mistral

from shared import ABORTED, CITY, COMPLETE, COMPRESSED, PROMPT, REFUSED, SLOW, TAKEN, TEXT, TOOL
from shared import Call, plain, take

MODEL = "mistral-small-latest"
ALL = {"api": "openai.chat_completions", "request_model": MODEL}
MESSAGES = [{"role": "user", "content": PROMPT}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": CITY}}]


def facts(last):
    u = last.usage
    return {
        "usage.input": u.prompt_tokens,
        "usage.output": u.completion_tokens,
        "usage.total": u.total_tokens,
        "response_model": last.model,
        "response_id": last.id,
        "finish_reasons": [last.choices[0].finish_reason],
    }


def chat(most=None, **more):
    def run(base, headers, chunks):
        sdk = Mistral(api_key="k", server_url=base)
        with sdk.chat.stream(model=MODEL, messages=MESSAGES, http_headers=headers, **more) as stream:
            taken = take((event.data for event in stream), chunks, most)
        if most is not None:
            return {"response_id": taken[0].id}
        return {**facts(taken[-1]), "stream": True}

    return run


def chat_whole(base, headers, chunks):
    answer = Mistral(api_key="k", server_url=base).chat.complete(model=MODEL, messages=MESSAGES, http_headers=headers)
    chunks.append(plain(answer))
    return {**facts(answer), "stream": False}


def calls(variant):
    compressed = [
        Call("stream", TEXT, chat(), {**ALL, **COMPLETE}),
        Call("whole", TEXT, chat_whole, {**ALL, **COMPLETE}),
    ]
    if variant in COMPRESSED:
        return compressed
    return compressed + [
        Call("stream with tool", TOOL, chat(tools=TOOLS), {**ALL, **COMPLETE, "tools": ["get_weather"]}),
        Call("refused", REFUSED, chat(), {**ALL, "ended": "error", "status": 429}),
        Call("stream left", SLOW, chat(most=TAKEN), {**ALL, **ABORTED}),
    ]
