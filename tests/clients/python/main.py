"""Makes the same calls with real SDKs twice, to an upstream itself and through a proxy, and tells what the SDKs saw.

  main.py --direct URL --through URL --variant NAME [--only openai,anthropic,...]

Prints a JSON object per call and line: `case` (also sent as the header x-case), `direct` and `through` (each with the `chunks`
that the SDK handed out and the `error` that it raised), and `facts`: what the record of the call through the proxy has to
say, by the record's own keys with dots between them, as the SDK understood the answer (null: absent).
"""

import argparse
import importlib
import json

SDKS = ["openai_sdk", "anthropic_sdk", "google_sdk", "bedrock_sdk", "cohere_sdk", "ollama_sdk", "mistral_sdk", "raw_http"]

# Those that can be told to speak HTTP/2.
HTTP2 = ["openai_sdk", "raw_http"]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--direct", required=True)
    arguments.add_argument("--through", required=True)
    arguments.add_argument("--variant", required=True)
    arguments.add_argument("--only", default="")
    arguments = arguments.parse_args()
    only = [name for name in arguments.only.split(",") if name]
    for module in SDKS:
        if arguments.variant == "http2" and module not in HTTP2:
            continue
        if only and module.split("_")[0] not in only:
            continue
        for call in importlib.import_module(module).calls(arguments.variant):
            case = f"{arguments.variant}/{module}/{call.name}"
            headers = {"x-case": case, "x-demo": call.steer}
            direct, _ = call.make(arguments.direct, headers)
            through, facts = call.make(arguments.through, headers)
            print(json.dumps({"case": case, "direct": direct, "through": through, "facts": facts}), flush=True)


if __name__ == "__main__":
    main()
