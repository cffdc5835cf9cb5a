"""The Google Gen AI SDK: generateContent."""

from google import genai
from google.genai import types

from shared import ABORTED, BROKEN, COMPLETE, COMPRESSED, CUT, PROMPT, REFUSED, SLOW, TAKEN, TEXT, THINK, TOOL, TRUNCATED
from shared import Call, take

MODEL = "gemini-2.5-flash"
ALL = {"api": "gemini.generate_content", "request_model": MODEL}


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


def client(base, headers):
    return genai.Client(api_key="k", http_options=types.HttpOptions(base_url=base, headers=headers))


def facts(last, all_chunks):
    """Gemini counts thoughts beside the candidates."""
    u = last.usage_metadata
    thoughts = u.thoughts_token_count or 0
    finish = [candidate.finish_reason.value for chunk in all_chunks for candidate in chunk.candidates or [] if candidate.finish_reason]
    calls = [call.name for chunk in all_chunks for call in chunk.function_calls or []]
    return {
        "usage.input": u.prompt_token_count,
        "usage.output": u.candidates_token_count + thoughts,
        "usage.cache_read": u.cached_content_token_count,
        "usage.reasoning": u.thoughts_token_count,
        "usage.total": u.total_token_count,
        "response_model": last.model_version,
        "response_id": last.response_id,
        "finish_reasons": finish,
        "tools": calls or None,
    }


def told(chunk):
    """A chunk without what the SDK notes of the transport."""
    return chunk.model_dump(mode="json", exclude={"sdk_http_response"})


def content(most=None, **config):
    def run(base, headers, chunks):
        sdk = client(base, headers)
        stream = sdk.models.generate_content_stream(
            model=MODEL, contents=PROMPT, config=types.GenerateContentConfig(**config)
        )
        taken = []
        for chunk in stream:
            taken.append(chunk)
            chunks.append(told(chunk))
            if most is not None and len(taken) >= most:
                break
        stream.close()
        sdk.close()
        if most is not None:
            return {"response_id": taken[0].response_id, "response_model": taken[0].model_version}
        return {**facts(taken[-1], taken), "stream": True}

    return run


def content_whole(base, headers, chunks):
    # Kept in a name: the client closes its connections when it goes.
    sdk = client(base, headers)
    answer = sdk.models.generate_content(model=MODEL, contents=PROMPT)
    chunks.append(told(answer))
    return {**facts(answer, [answer]), "stream": False}


def calls(variant):
    compressed = [
        Call("stream", TEXT, content(), {**ALL, **COMPLETE}),
        Call("whole", TEXT, content_whole, {**ALL, **COMPLETE}),
    ]
    if variant in COMPRESSED:
        return compressed
    tool = types.Tool(function_declarations=[types.FunctionDeclaration.from_callable_with_api_option(callable=get_weather)])
    return compressed + [
        Call("stream gzip", TEXT + ",encoding=gzip", content(), {**ALL, **COMPLETE}),
        Call("stream in small pieces", TEXT + ",chunk=7", content(), {**ALL, **COMPLETE}),
        Call("stream with tool", TOOL, content(tools=[tool]), {**ALL, **COMPLETE, "tools": ["get_weather"]}),
        Call("stream with thoughts", THINK, content(), {**ALL, **COMPLETE, "usage.reasoning": 8}),
        Call("refused", REFUSED, content(), {**ALL, "ended": "error", "status": 429}),
        Call("stream with error", BROKEN, content(), {**ALL, "ended": "error", "status": 200}),
        Call("stream cut", CUT, content(most=100), {**ALL, **TRUNCATED}),
        Call("stream left", SLOW, content(most=TAKEN), {**ALL, **ABORTED}),
    ]
