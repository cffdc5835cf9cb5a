"""What each SDK makes of a call that is refused, and of a stream that is cut.

  refusals.py BASE_URL

Makes every call once for each way that the server at the URL knows to go wrong (sent as the header x-refuse), and prints a
JSON object per call and line: `call`, `way`, `raised` (the names of the exception's classes, its own first; null if there was none),
`says` (its text), `status` (where it has one) and `chunks` (how many the SDK handed out before).
"""

import json
import logging
import sys

import cohere
import mistralai.client
import ollama
from google import genai
from google.genai import types

import anthropic_sdk
import bedrock_sdk
import google_sdk
import openai_sdk
from shared import PROMPT

WHOLE = ["429", "503"]
# At so many thousandths of the stream, within events and between them; then the answer ends, or its connection breaks.
STREAM = WHOLE + ["cut ended 300", "cut ended 437", "cut broken 300", "cut broken 437", "cut 503 300", "broken 300"]

MESSAGES = [{"role": "user", "content": PROMPT}]


def openai_calls(base, headers):
    sdk = openai_sdk.client(base, headers)
    model = openai_sdk.MODEL
    return {
        "chat": lambda: [sdk.chat.completions.create(model=model, messages=MESSAGES)],
        "chat stream": lambda: sdk.chat.completions.create(model=model, messages=MESSAGES, stream=True),
        "completions stream": lambda: sdk.completions.create(model=model, prompt=PROMPT, stream=True),
        "responses": lambda: [sdk.responses.create(model=model, input=PROMPT)],
        "responses stream": lambda: sdk.responses.create(model=model, input=PROMPT, stream=True),
        "responses helper stream": lambda: inside(sdk.responses.stream(model=model, input=PROMPT)),
        "embeddings": lambda: [sdk.embeddings.create(model="text-embedding-3-small", input="a")],
        "models": lambda: sdk.models.list(),
    }


def anthropic_calls(base, headers):
    sdk = anthropic_sdk.client(base, headers)
    ask = {"model": anthropic_sdk.MODEL, "max_tokens": 2000, "messages": MESSAGES}
    return {
        "messages": lambda: [sdk.messages.create(**ask)],
        "messages stream": lambda: sdk.messages.create(**ask, stream=True),
        "messages helper stream": lambda: inside(sdk.messages.stream(**ask)),
        "count tokens": lambda: [sdk.messages.count_tokens(model=anthropic_sdk.MODEL, messages=MESSAGES)],
    }


def google_calls(base, headers):
    # Interactions are retried four times if nobody says otherwise.
    once = types.HttpRetryOptions(attempts=1)
    sdk = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=base, headers=headers, retry_options=once))
    ask = {"model": google_sdk.MODEL, "contents": PROMPT}
    interact = {"model": google_sdk.MODEL, "input": PROMPT}
    return {
        "generate": lambda: [sdk.models.generate_content(**ask)],
        "generate stream": lambda: sdk.models.generate_content_stream(**ask),
        "embed": lambda: [sdk.models.embed_content(model="gemini-embedding-001", contents="a")],
        "interactions": lambda: [sdk.interactions.create(**interact)],
        "interactions stream": lambda: sdk.interactions.create(**interact, stream=True),
    }


def bedrock_calls(base, headers):
    sdk = bedrock_sdk.client(base, headers)
    invoke = {"modelId": bedrock_sdk.MODEL, "body": bedrock_sdk.BODY}
    return {
        "converse": lambda: [sdk.converse(**bedrock_sdk.ASK)],
        "converse stream": lambda: sdk.converse_stream(**bedrock_sdk.ASK)["stream"],
        "invoke": lambda: [sdk.invoke_model(**invoke)["body"].read()],
        "invoke stream": lambda: sdk.invoke_model_with_response_stream(**invoke)["body"],
    }


def cohere_calls(base, headers):
    options = {"additional_headers": headers, "max_retries": 0}
    v1, v2 = cohere.Client(api_key="k", base_url=base), cohere.ClientV2(api_key="k", base_url=base)
    ask = {"model": "command-a-03-2025", "messages": MESSAGES, "request_options": options}
    return {
        "v2 chat": lambda: [v2.chat(**ask)],
        "v2 chat stream": lambda: v2.chat_stream(**ask),
        "v1 chat": lambda: [v1.chat(message=PROMPT, request_options=options)],
        "v1 chat stream": lambda: v1.chat_stream(message=PROMPT, request_options=options),
        "v2 embed": lambda: [
            v2.embed(texts=["a"], model="embed-v4.0", input_type="search_query", embedding_types=["float"], request_options=options)
        ],
    }


def mistral_calls(base, headers):
    sdk = mistralai.client.Mistral(api_key="k", server_url=base)
    ask = {"model": "mistral-small-latest", "messages": MESSAGES, "http_headers": headers}
    return {"chat": lambda: [sdk.chat.complete(**ask)], "chat stream": lambda: inside(sdk.chat.stream(**ask))}


def ollama_calls(base, headers):
    sdk = ollama.Client(host=base, headers=headers)
    return {
        "chat": lambda: [sdk.chat(model="m", messages=MESSAGES)],
        "chat stream": lambda: sdk.chat(model="m", messages=MESSAGES, stream=True),
        "generate stream": lambda: sdk.generate(model="m", prompt=PROMPT, stream=True),
        "embed": lambda: [sdk.embed(model="m", input="a")],
    }


def inside(manager):
    """The stream of a context manager."""
    with manager as stream:
        yield from stream


SDKS = {
    "openai": openai_calls,
    "anthropic": anthropic_calls,
    "google": google_calls,
    "bedrock": bedrock_calls,
    "cohere": cohere_calls,
    "mistral": mistral_calls,
    "ollama": ollama_calls,
}


def status(raised):
    """The status, where the SDK hands it out: each in its own place."""
    response = getattr(raised, "response", None)
    if isinstance(response, dict):
        return response["ResponseMetadata"]["HTTPStatusCode"] if "ResponseMetadata" in response else None
    return getattr(raised, "status_code", None) or getattr(raised, "code", None)


def main():
    base = sys.argv[1]
    # Some SDKs log what they skip.
    logging.disable(logging.CRITICAL)
    for name, calls in SDKS.items():
        for way in STREAM:
            for call, make in calls(base, {"x-refuse": way}).items():
                if way not in WHOLE and not call.endswith("stream"):
                    continue
                chunks, raised = 0, None
                try:
                    for _ in make():
                        chunks += 1
                except Exception as exception:  # what an SDK raises is what this is about
                    raised = exception
                told = {
                    "call": f"{name} {call}",
                    "way": way,
                    "raised": raised and [kind.__name__ for kind in type(raised).__mro__],
                    "says": raised and f"{raised} {getattr(raised, 'body', '')}",
                    "status": raised and status(raised),
                    "chunks": chunks,
                }
                print(json.dumps(told, default=str), flush=True)


if __name__ == "__main__":
    main()
