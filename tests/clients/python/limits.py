"""What the SDKs make of limits in a real Envoy.

  limits.py BASE_URL

Makes calls that are refused, refused and tried again, and cut, and prints a JSON object per call and line: `call`, `way`, `raised`
(the exception's classes, its own first; null if there was none), `says`, and `chunks` (how many were handed out before).

The Envoy holds the tenant `once` to one call a day, `turns` to one every six seconds, and a run to some tokens.
"""

import json
import sys

import anthropic_sdk
import openai_sdk
from refusals import anthropic_calls, bedrock_calls, google_calls, openai_calls
from shared import PROMPT

MESSAGES = [{"role": "user", "content": PROMPT}]
# Three attempts at most, each after what the answer before said.
PATIENT = 2


def chat(sdk):
    return lambda: [sdk.chat.completions.create(model=openai_sdk.MODEL, messages=MESSAGES)]


def message(sdk):
    return lambda: [sdk.messages.create(model=anthropic_sdk.MODEL, max_tokens=90, messages=MESSAGES)]


def plain(name, make, way, tenant, retries):
    headers = {"x-tenant": tenant, "x-case": f"{name} {way}", "x-demo": "tokens=5,reasoning=0,tools=0"}
    sdk, call = make
    tell(name, way, call(sdk(headers).with_options(max_retries=retries)))


def tell(name, way, make):
    chunks, raised = 0, None
    try:
        for _ in make():
            chunks += 1
    except Exception as exception:  # what an SDK raises is what this is about
        raised = exception
    kinds = raised and [kind.__name__ for kind in type(raised).__mro__]
    says = raised and f"{raised} {getattr(raised, 'body', '')}"
    print(json.dumps({"call": name, "way": way, "raised": kinds, "says": says, "chunks": chunks}, default=str), flush=True)


def main():
    base = sys.argv[1]
    plains = {
        "openai": (lambda headers: openai_sdk.client(base, headers), chat),
        "anthropic": (lambda headers: anthropic_sdk.client(base, headers), message),
    }
    for name, make in plains.items():
        for way, tenant, retries in [
            ("first", f"once-{name}", 0),
            ("refused", f"once-{name}", 0),
            ("before", f"turns-{name}", 0),
            ("patient", f"turns-{name}", PATIENT),
        ]:
            plain(name, make, way, tenant, retries)
    for sdk, calls in [
        ("openai", openai_calls),
        ("anthropic", anthropic_calls),
        ("google", google_calls),
        ("bedrock", bedrock_calls),
    ]:
        headers = {"x-run": f"run of {sdk}", "x-demo": "tokens=300,reasoning=0,tools=0,gap=1"}
        for call, make in calls(base, headers).items():
            if call.endswith("stream") and "interactions" not in call:
                headers["x-run"] = f"run of {sdk} {call}"
                tell(f"{sdk} {call}", "cut", dict(calls(base, {**headers, "x-case": f"{sdk} {call}"}))[call])


if __name__ == "__main__":
    main()
