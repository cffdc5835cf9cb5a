"""The OpenAI SDK: chat completions, completions, Responses, embeddings."""

import httpx
import openai

from shared import ABORTED, BROKEN, CITY, COMPLETE, COMPRESSED, CUT, FAILED_LATE, PROMPT, REFUSED, SLOW, TAKEN, TEXT, THINK, TOOL, TRUNCATED
from shared import Call, plain, take

MODEL = "gpt-4o-2024-08-06"
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": CITY}}]
CHAT = {"api": "openai.chat_completions", "request_model": MODEL}
RESPONSES = {"api": "openai.responses", "request_model": MODEL}


def client(base, headers, http2=False):
    transport = httpx.Client(http1=not http2, http2=http2)
    return openai.OpenAI(base_url=f"{base}/v1", api_key="sk-test", max_retries=0, default_headers=headers, http_client=transport)


def usage(u):
    read, write = u.prompt_tokens_details, u.completion_tokens_details
    return {
        "usage.input": u.prompt_tokens,
        "usage.output": u.completion_tokens,
        "usage.total": u.total_tokens,
        "usage.cache_read": read and read.cached_tokens,
        "usage.reasoning": write and write.reasoning_tokens,
    }


def of_chunks(chunks):
    """The facts of a whole stream."""
    choices = [choice for chunk in chunks for choice in chunk.choices]
    tools = [tool.function.name for choice in choices for tool in choice.delta.tool_calls or [] if tool.function.name]
    return {
        **usage(chunks[-1].usage),
        "response_model": chunks[-1].model,
        "response_id": chunks[-1].id,
        "system_fingerprint": chunks[-1].system_fingerprint,
        "finish_reasons": [choice.finish_reason for choice in choices if choice.finish_reason],
        "tools": tools or None,
        "stream": True,
    }


def chat(http2=False, most=None, **more):
    def run(base, headers, chunks):
        with client(base, headers, http2) as sdk:
            stream = sdk.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": PROMPT}], stream=True,
                stream_options={"include_usage": True}, **more,
            )
            taken = take(stream, chunks, most)
            stream.close()
            return of_chunks(taken) if most is None else {"response_id": taken[0].id, "response_model": taken[0].model}

    return run


def chat_whole(base, headers, chunks):
    with client(base, headers) as sdk:
        answer = sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": PROMPT}])
    chunks.append(plain(answer))
    return {
        **usage(answer.usage),
        "response_model": answer.model,
        "response_id": answer.id,
        "finish_reasons": [choice.finish_reason for choice in answer.choices],
        "stream": False,
    }


def chat_without_usage(base, headers, chunks):
    with client(base, headers) as sdk:
        stream = sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": PROMPT}], stream=True)
        taken = take(stream, chunks)
    assert all(chunk.usage is None for chunk in taken)
    return {"finish_reasons": [taken[-1].choices[0].finish_reason], "response_id": taken[0].id, "stream": True}


def completions(base, headers, chunks):
    with client(base, headers) as sdk:
        stream = sdk.completions.create(
            model="gpt-3.5-turbo-instruct", prompt=PROMPT, stream=True, stream_options={"include_usage": True}
        )
        taken = take(stream, chunks)
    finish = [choice.finish_reason for chunk in taken for choice in chunk.choices if choice.finish_reason]
    return {**usage(taken[-1].usage), "response_model": taken[-1].model, "finish_reasons": finish, "stream": True}


def responses_facts(response):
    u = response.usage
    return {
        "usage.input": u.input_tokens,
        "usage.output": u.output_tokens,
        "usage.total": u.total_tokens,
        "usage.cache_read": u.input_tokens_details.cached_tokens,
        "usage.reasoning": u.output_tokens_details.reasoning_tokens,
        "response_model": response.model,
        "response_id": response.id,
        "tools": [item.name for item in response.output if item.type == "function_call"] or None,
    }


def responses(most=None, **more):
    def run(base, headers, chunks):
        with client(base, headers) as sdk:
            stream = sdk.responses.create(model=MODEL, input=PROMPT, stream=True, **more)
            taken = take(stream, chunks, most)
            stream.close()
        if most is not None:
            # Responses have a status in a finish reason's place, and this is the last one that was told.
            return {"response_id": taken[0].response.id, "finish_reasons": [taken[0].response.status]}
        return {**responses_facts(taken[-1].response), "stream": True}

    return run


def responses_whole(base, headers, chunks):
    with client(base, headers) as sdk:
        answer = sdk.responses.create(model=MODEL, input=PROMPT)
    chunks.append(plain(answer))
    return {**responses_facts(answer), "stream": False}


def embeddings(base, headers, chunks):
    with client(base, headers) as sdk:
        answer = sdk.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    chunks.append(plain(answer))
    return {"usage.input": answer.usage.prompt_tokens, "usage.output": None, "response_model": answer.model}


def models(base, headers, chunks):
    with client(base, headers) as sdk:
        chunks.extend(plain(model) for model in sdk.models.list())


def calls(variant):
    if variant == "http2":
        return [
            Call("chat stream", TEXT, chat(http2=True), {**CHAT, **COMPLETE}),
            Call("chat stream left", SLOW, chat(http2=True, most=TAKEN), {**CHAT, **ABORTED}),
        ]
    compressed = [
        Call("chat stream", TEXT, chat(), {**CHAT, **COMPLETE}),
        Call("chat", TEXT, chat_whole, {**CHAT, **COMPLETE}),
        Call("responses stream", TEXT, responses(), {**RESPONSES, **COMPLETE}),
    ]
    if variant in COMPRESSED:
        return compressed
    tool = {"type": "function", "name": "get_weather", "parameters": CITY}
    return compressed + [
        Call("chat stream gzip", TEXT + ",encoding=gzip", chat(), {**CHAT, **COMPLETE}),
        Call("chat stream deflate", TEXT + ",encoding=deflate", chat(), {**CHAT, **COMPLETE}),
        Call("chat stream in small pieces", TEXT + ",chunk=7", chat(), {**CHAT, **COMPLETE}),
        Call("chat stream with tool", TOOL, chat(tools=TOOLS), {**CHAT, **COMPLETE, "tools": ["get_weather"]}),
        Call("chat stream with thoughts", THINK, chat(), {**CHAT, **COMPLETE, "usage.reasoning": 8}),
        Call("chat stream without usage", TEXT, chat_without_usage,
             {**CHAT, **COMPLETE, "usage.source": "estimated"}),
        Call("chat refused", REFUSED, chat(), {**CHAT, "ended": "error", "status": 429, "usage.source": "none"}),
        Call("chat stream with error", BROKEN, chat(), {**CHAT, **FAILED_LATE, "error_type": "server_error"}),
        Call("chat stream cut", CUT, chat(most=100), {**CHAT, **TRUNCATED}),
        Call("chat stream left", SLOW, chat(most=TAKEN), {**CHAT, **ABORTED}),
        Call("completions stream", TEXT, completions, {**COMPLETE, "api": "openai.completions"}),
        Call("responses", TEXT, responses_whole, {**RESPONSES, **COMPLETE}),
        Call("responses stream with tool", TOOL, responses(tools=[tool]), {**RESPONSES, **COMPLETE, "tools": ["get_weather"]}),
        Call("responses stream with thoughts", THINK, responses(), {**RESPONSES, **COMPLETE, "usage.reasoning": 8}),
        Call("responses stream left", SLOW, responses(TAKEN), {**RESPONSES, "ended": "client_abort", "stream": True}),
        Call("embeddings", TEXT, embeddings, {**COMPLETE, "api": "embeddings", "stream": False}),
        Call("models", "", models, {"api": "other", "ended": "complete", "usage.source": "none"}),
    ]
