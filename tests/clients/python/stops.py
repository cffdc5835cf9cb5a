"""What the SDKs make of a retry that weir refuses.

  stops.py BASE_URL

The upstream fails all calls. Prints a JSON object per call and line: `call`, `tenant`, `raised` (the exception's classes, its own first),
`status` and `says`.
"""

import json
import sys

import anthropic
import openai

MESSAGES = [{"role": "user", "content": "hi"}]


def main():
    base = sys.argv[1]
    for tenant in ["free", "held", "limited"]:
        headers = {"x-tenant": tenant}
        more = {"api_key": "sk-test", "max_retries": 2, "default_headers": headers}
        one, other = openai.OpenAI(base_url=f"{base}/v1", **more), anthropic.Anthropic(base_url=base, **more)
        calls = {
            "openai chat": lambda: one.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES),
            "openai chat stream": lambda: one.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True),
            "openai responses": lambda: one.responses.create(model="gpt-4o-mini", input="hi"),
            "anthropic messages": lambda: other.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=MESSAGES),
            "anthropic messages stream": lambda: other.messages.create(
                model="claude-haiku-4-5", max_tokens=9, messages=MESSAGES, stream=True
            ),
        }
        for name, call in calls.items():
            headers["x-case"] = f"{name} {tenant}"
            one = one.with_options(default_headers=headers)
            other = other.with_options(default_headers=headers)
            try:
                call()
                raised = None
            except Exception as exception:  # what an SDK raises is what this is about
                raised = exception
            kinds = [kind.__name__ for kind in type(raised).__mro__]
            told = {"call": name, "tenant": tenant, "raised": kinds, "status": getattr(raised, "status_code", None), "says": str(raised)}
            print(json.dumps(told), flush=True)


main()
