"""boto3 for Amazon Bedrock: Converse and InvokeModel, both in binary event streams."""

import json

import boto3
from botocore.config import Config

from shared import ABORTED, BROKEN, CITY, COMPLETE, COMPRESSED, CUT, PROMPT, REFUSED, SLOW, TAKEN, TEXT, TOOL, TRUNCATED
from shared import Call, plain, take

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
CONVERSE = {"api": "bedrock.converse", "request_model": MODEL}
INVOKE = {"api": "bedrock.invoke", "request_model": MODEL}
ASK = {"modelId": MODEL, "messages": [{"role": "user", "content": [{"text": PROMPT}]}], "inferenceConfig": {"maxTokens": 2000}}
BODY = json.dumps(
    {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 2000, "messages": [{"role": "user", "content": PROMPT}]}
)
TOOLS = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": CITY}}}]}


def client(base, headers):
    sdk = boto3.client(
        "bedrock-runtime", endpoint_url=base, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y",
        config=Config(retries={"total_max_attempts": 1}),
    )

    def add(request, **_):
        for name, value in headers.items():
            request.headers.add_header(name, value)

    sdk.meta.events.register("before-sign.*.*", add)
    return sdk


def usage(u):
    """Bedrock counts the cache beside the input."""
    read, write = u.get("cacheReadInputTokens"), u.get("cacheWriteInputTokens")
    return {
        "usage.input": u["inputTokens"] + (read or 0) + (write or 0),
        "usage.output": u["outputTokens"],
        "usage.cache_read": read,
        "usage.cache_write": write,
    }


def converse(most=None, **more):
    def run(base, headers, chunks):
        stream = client(base, headers).converse_stream(**ASK, **more)["stream"]
        taken = take(stream, chunks, most)
        stream.close()
        if most is not None:
            return {"stream": True}
        [meta] = [event["metadata"] for event in taken if "metadata" in event]
        [stop] = [event["messageStop"] for event in taken if "messageStop" in event]
        begun = [event["contentBlockStart"]["start"] for event in taken if "contentBlockStart" in event]
        return {
            **usage(meta["usage"]),
            "finish_reasons": [stop["stopReason"]],
            "tools": [start["toolUse"]["name"] for start in begun if "toolUse" in start] or None,
            "response_model": None,
            "max_tokens": 2000,
            "stream": True,
        }

    return run


def converse_whole(base, headers, chunks):
    answer = client(base, headers).converse(**ASK)
    answer.pop("ResponseMetadata")
    chunks.append(plain(answer))
    return {**usage(answer["usage"]), "finish_reasons": [answer["stopReason"]], "stream": False}


def invoke(most=None):
    def run(base, headers, chunks):
        stream = client(base, headers).invoke_model_with_response_stream(modelId=MODEL, body=BODY)["body"]
        events = [json.loads(event["chunk"]["bytes"]) for event in take(stream, chunks, most)]
        stream.close()
        start = next(event["message"] for event in events if event["type"] == "message_start")
        if most is not None:
            return {"response_id": start["id"]}
        delta = next(event for event in events if event["type"] == "message_delta")
        return {
            "usage.output": delta["usage"]["output_tokens"],
            "finish_reasons": [delta["delta"]["stop_reason"]],
            "response_model": start["model"],
            "response_id": start["id"],
            "stream": True,
        }

    return run


def invoke_whole(base, headers, chunks):
    answer = json.loads(client(base, headers).invoke_model(modelId=MODEL, body=BODY)["body"].read())
    chunks.append(answer)
    return {"usage.output": answer["usage"]["output_tokens"], "finish_reasons": [answer["stop_reason"]], "stream": False}


def calls(variant):
    if variant in COMPRESSED:
        return []  # boto3 asks for no compression
    return [
        Call("converse stream", TEXT, converse(), {**CONVERSE, **COMPLETE}),
        Call("converse", TEXT, converse_whole, {**CONVERSE, **COMPLETE}),
        Call("converse stream in small pieces", TEXT + ",chunk=7", converse(), {**CONVERSE, **COMPLETE}),
        Call("converse stream with tool", TOOL, converse(toolConfig=TOOLS), {**CONVERSE, **COMPLETE, "tools": ["get_weather"]}),
        Call("converse refused", REFUSED, converse(), {**CONVERSE, "ended": "error", "status": 429}),
        Call("converse stream with error", BROKEN, converse(), {**CONVERSE, "ended": "error", "status": 200}),
        Call("converse stream cut", CUT, converse(most=100), {**CONVERSE, **TRUNCATED}),
        Call("converse stream left", SLOW, converse(most=TAKEN), {**CONVERSE, **ABORTED}),
        Call("invoke stream", TEXT, invoke(), {**INVOKE, **COMPLETE}),
        Call("invoke", TEXT, invoke_whole, {**INVOKE, **COMPLETE}),
        Call("invoke stream left", SLOW, invoke(most=TAKEN), {**INVOKE, **ABORTED}),
    ]
