"""What litellm says that recorded calls cost, beside what weir says.

usage: compare.py CORPUS PRICES.json CALLS.jsonl; CALLS as for exact.py. litellm reads each provider's usage with its own code, and has
the same prices, but those off peak: when a call was made is not recorded. Prints one JSON object in its last line: by API and provider
how many agree, and why others do not. A reason is one if without it the two agree."""

import gzip
import json
import os
import sys
from collections import Counter, defaultdict
from importlib.metadata import version

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_LOG"] = "ERROR"

import litellm  # noqa: E402
from litellm.cost_calculator import _map_traffic_type_to_service_tier, cost_per_token  # noqa: E402
from litellm.llms.anthropic.chat.transformation import AnthropicConfig  # noqa: E402
from litellm.llms.bedrock.chat.converse_transformation import AmazonConverseConfig  # noqa: E402
from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import VertexGeminiConfig  # noqa: E402
from litellm.responses.utils import ResponseAPILoggingUtils  # noqa: E402
from litellm.types.utils import Usage  # noqa: E402
from litellm.utils import _invalidate_model_cost_lowercase_map  # noqa: E402


def plain(truth):
    """Where litellm has no reader for the bare usage: the counts in its own shape."""
    count = lambda key: int(truth.get(key) or 0)
    # Voyage counts nothing but all of them.
    alone = int((truth.get("usage_raw") or {}).get("total_tokens") or 0)
    if not count("input_tokens_incl_cache") and not count("output_tokens_incl_reasoning") and alone:
        return Usage(prompt_tokens=alone, completion_tokens=0, total_tokens=alone)
    return Usage(
        prompt_tokens=count("input_tokens_incl_cache"), completion_tokens=count("output_tokens_incl_reasoning"),
        total_tokens=count("input_tokens_incl_cache") + count("output_tokens_incl_reasoning"),
        prompt_tokens_details={"cached_tokens": count("cached_input_tokens")},
        cache_creation_input_tokens=count("cache_write_tokens"), cache_read_input_tokens=count("cached_input_tokens"),
    )


def usage(truth, raw):
    api = truth["api_format"]
    if api == "anthropic.messages":
        return AnthropicConfig().calculate_usage(usage_object=raw, reasoning_content=None)
    if api == "bedrock.converse":
        return AmazonConverseConfig().transform_usage(raw)
    if api == "gemini.generate_content":
        return VertexGeminiConfig._calculate_usage({"usageMetadata": raw})
    if api == "openai.responses":
        return ResponseAPILoggingUtils.transform_response_api_usage_to_chat_usage(raw)
    if api in ("openai.chat_completions", "openai.completions"):
        return Usage(**raw)
    return plain(truth)


def provider(entry):
    name = entry["litellm_provider"]
    if name.startswith("vertex_ai"):
        return "vertex_ai"
    return {"bedrock_converse": "bedrock"}.get(name, name)


def tier(truth):
    raw = truth.get("usage_raw") or {}
    if raw.get("trafficType"):
        return _map_traffic_type_to_service_tier(raw["trafficType"])
    return truth.get("service_tier") or raw.get("serviceTier")


def without_iterations(truth, raw):
    return raw.get("iterations") and {key: value for key, value in raw.items() if key != "iterations"}


def without_stated_cost(truth, raw):
    return raw.get("cost") and {key: value for key, value in raw.items() if key not in ("cost", "cost_details")}


def with_cached_in_its_place(truth, raw):
    return raw.get("num_cached_tokens") and {**raw, "prompt_tokens_details": {"cached_tokens": raw["num_cached_tokens"]}}


def with_all_modalities(truth, raw):
    lines = raw.get("promptTokensDetails") or []
    missing = raw.get("promptTokenCount", 0) - sum(line["tokenCount"] for line in lines)
    if truth["api_format"] == "gemini.generate_content" and missing > 0:
        texts = [line for line in lines if line["modality"] == "TEXT"]
        others = [line for line in lines if line["modality"] != "TEXT"]
        text = sum(line["tokenCount"] for line in texts) + missing
        return {**raw, "promptTokensDetails": [*others, {"modality": "TEXT", "tokenCount": text}]}


def with_parts_within_the_whole(truth, raw):
    """First what was cached, then what was written, then sound; first reasoning, then sound."""
    if "prompt_tokens" not in raw:
        return None
    def capped(whole, details, keys):
        details = dict(raw.get(details) or {})
        for key in keys:
            details[key] = min(details.get(key) or 0, whole)
            whole -= details[key]
        return details
    fixed = {
        **raw,
        "prompt_tokens_details": capped(raw["prompt_tokens"], "prompt_tokens_details", ["cached_tokens", "cache_write_tokens", "audio_tokens"]),
        "completion_tokens_details": capped(
            raw["completion_tokens"], "completion_tokens_details", ["reasoning_tokens", "audio_tokens"]
        ),
    }
    return fixed


REASONS = [
    ("iterations", without_iterations),
    ("stated cost", without_stated_cost),
    ("num_cached_tokens", with_cached_in_its_place),
    ("modalities", with_all_modalities),
    ("parts beyond the whole", with_parts_within_the_whole),
]


def cached_sound(entry, raw):
    """What sound costs from a cache beyond what text does, in nano-dollars."""
    count = sum(line["tokenCount"] for line in raw.get("cacheTokensDetails") or [] if line["modality"] == "AUDIO")
    own = entry.get("cache_read_input_audio_token_cost")
    return 0 if own is None else count * (own - entry["cache_read_input_token_cost"]) * 1e9


def cost(truth, raw, key, entry):
    """In nano-dollars, as litellm says."""
    used = usage(truth, raw)
    sums = cost_per_token(model=key, custom_llm_provider=provider(entry), usage_object=used, service_tier=tier(truth))
    return sum(sums) * 1e9


def reason(truth, call, entry, theirs):
    """Why the two differ; empty where nobody knows."""
    raw = truth["usage_raw"]
    if cached_sound(entry, raw) and same(call["total"], theirs - cached_sound(entry, raw)):
        return "cached sound"
    billed = raw.get("billed_units") or {}
    if "input_tokens" in billed or "output_tokens" in billed:
        counts = {
            "input_tokens_incl_cache": billed.get("input_tokens", truth.get("input_tokens_incl_cache")),
            "output_tokens_incl_reasoning": billed.get("output_tokens", truth.get("output_tokens_incl_reasoning")),
        }
        counts["cached_input_tokens"] = min(int(truth.get("cached_input_tokens") or 0), int(counts["input_tokens_incl_cache"] or 0))
        if same(call["total"], cost({**truth, **counts}, raw, call["key"], entry)):
            return "billed units"
    if truth["api_format"] == "bedrock.invoke" and truth.get("output_tokens_incl_reasoning") is None:
        return "output in a header"
    for name, correct in REASONS:
        corrected = correct(truth, raw)
        if corrected and same(call["total"], cost(truth, corrected, call["key"], entry)):
            return name
    return ""


def same(weir, theirs):
    """Within half a nano-dollar, or a billionth of it: theirs are floats."""
    return abs(weir - theirs) <= max(0.5 + 1e-6, 1e-9 * weir)


def lines(name):
    return map(json.loads, gzip.open(f"{sys.argv[1]}/{name}.jsonl.gz", "rt"))


def main():
    truths = {truth["id"]: truth for truth in lines("truth")}
    prices = json.load(open(sys.argv[2]))
    for entry in prices.values():
        entry.pop("off_peak_pricing", None)
    litellm.model_cost = {key: entry for key, entry in prices.items() if key != "sample_spec"}
    _invalidate_model_cost_lowercase_map()
    litellm.add_known_models()
    rows = defaultdict(lambda: {"calls": 0, "agree": 0, "reasons": Counter()})
    differing = []
    for line in open(sys.argv[3]):
        call = json.loads(line)
        truth, entry = truths[call["id"]], prices[call["key"]]
        row = rows[(truth["api_format"], provider(entry))]
        row["calls"] += 1
        theirs, error, why = None, None, ""
        try:
            theirs = cost(truth, truth["usage_raw"], call["key"], entry)
            if same(call["total"], theirs):
                row["agree"] += 1
                continue
            why = reason(truth, call, entry, theirs)
        except Exception as raised:  # noqa: BLE001: whatever it is, it is told
            error = f"{type(raised).__name__}: {str(raised)[:150]}"
        row["reasons"][why] += 1
        differing.append({"id": call["id"], "key": call["key"], "weir": call["total"], "litellm": theirs, "reason": why, "error": error})
    table = [{"api": api, "provider": name, **row} for (api, name), row in sorted(rows.items())]
    print(json.dumps({"litellm": version("litellm"), "rows": table, "differing": differing}))


if __name__ == "__main__":
    main()
