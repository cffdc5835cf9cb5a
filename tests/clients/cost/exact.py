"""What recorded calls cost, as an exact fraction: from the truth of the corpus and the decimals of the price file, and no code of weir's.

usage: exact.py CORPUS PRICES.json CALLS.jsonl; CALLS has a line for each call: {"id", "key", "total"}. Prints one JSON object."""

import gzip
import json
import math
import re
import sys
from fractions import Fraction

TIERS = {
    "priority": "_priority", "ON_DEMAND_PRIORITY": "_priority",
    "flex": "_flex", "ON_DEMAND_FLEX": "_flex",
    "batch": "_batches", "balanced": "_balanced", "ultrafast": "_ultrafast",
}


def tokens(truth):
    """All input, all output, and the parts of them that have prices of their own."""
    usage = truth.get("usage_raw") or {}
    number = lambda key: int(truth.get(key) or 0)
    part = {
        "input": number("input_tokens_incl_cache"), "output": number("output_tokens_incl_reasoning"),
        "read": number("cached_input_tokens"), "write": number("cache_write_tokens"), "reasoning": number("reasoning_tokens"),
    }
    # Cohere bills other counts than its model read and wrote.
    billed = usage.get("billed_units") or {}
    part["input"] = int(billed.get("input_tokens", part["input"]))
    part["output"] = int(billed.get("output_tokens", part["output"]))
    # Voyage counts nothing but all of them.
    if not part["input"] and not part["output"]:
        part["input"] = int(usage.get("total_tokens") or 0)
    created = usage.get("cache_creation") or {}
    part["hour"] = int(created.get("ephemeral_1h_input_tokens") or 0)
    part["hour"] += sum(line["inputTokens"] for line in usage.get("cacheDetails") or [] if line["ttl"] == "1h")

    def sound(*keys):
        lines = [line for key in keys for line in usage.get(key) or [] if isinstance(line, dict)]
        heard = [line for line in lines if line.get("modality") in ("AUDIO", "audio", 4)]
        return sum(line.get("tokenCount", line.get("tokens", 0)) for line in heard)

    of = lambda *keys: sum((usage.get(key) or {}).get("audio_tokens") or 0 for key in keys)
    part["heard"] = sound("promptTokensDetails", "input_tokens_by_modality") - sound("cacheTokensDetails", "cached_tokens_by_modality")
    part["heard"] += of("prompt_tokens_details", "prompt_token_details")
    part["spoken"] = sound("candidatesTokensDetails", "output_tokens_by_modality")
    part["spoken"] += of("completion_tokens_details", "completion_token_details")
    return part


def rate(entry, name, size, suffix):
    """The rate of the largest size that is exceeded, in the tier; then in the tier; then of a size; then in none."""
    def above(suffix):
        found = []
        for key in entry:
            match = re.fullmatch(re.escape(name) + r"_above_(\d+)(k?)_tokens" + suffix, key)
            if match:
                limit = int(match[1]) * (1000 if match[2] else 1)
                if size > limit or size == limit and entry.get("litellm_provider") == "xai":
                    found.append((limit, entry[key]))
        return max(found)[1] if found else None

    for value in ([above(suffix), entry.get(name + suffix)] if suffix else []) + [above(""), entry.get(name)]:
        if value is not None:
            return Fraction(value)
    return None


def cost(entry, part, tier):
    """In dollars."""
    suffix = TIERS.get(tier, "")
    sizes = entry.get("tiered_pricing")
    if sizes:
        within = [tier for tier in sizes if part["input"] > tier["range"][0]]
        entry = max(within or sizes[:1], key=lambda tier: tier["range"][0])
    first = lambda *names: next((r for r in (rate(entry, n, part["input"], suffix) for n in names) if r is not None), Fraction(0))
    plain, spoken = first("input_cost_per_token"), first("output_cost_per_token")
    read = first("cache_read_input_token_cost", "input_cost_per_token_cache_hit", "input_cost_per_token")
    write = first("cache_creation_input_token_cost", "input_cost_per_token")
    hour = first("cache_creation_input_token_cost_above_1hr", "cache_creation_input_token_cost", "input_cost_per_token")
    thought = first("output_cost_per_reasoning_token", "output_cost_per_token")
    if entry.get("output_cost_per_reasoning_token") == entry.get("output_cost_per_token"):
        thought = spoken
    left = part["input"]
    parts = []
    for count, price in [
        (part["read"], read), (part["write"] - min(part["hour"], part["write"]), write), (min(part["hour"], part["write"]), hour),
        (part["heard"], first("input_cost_per_audio_token", "input_cost_per_token")),
    ]:
        count = min(count, left)
        left -= count
        parts.append(count * price)
    parts.append(left * plain)
    left = part["output"]
    for count, price in [(part["reasoning"], thought), (part["spoken"], first("output_cost_per_audio_token", "output_cost_per_token"))]:
        count = min(count, left)
        left -= count
        parts.append(count * price)
    parts.append(left * spoken)
    return sum(parts) + Fraction(entry.get("input_cost_per_request") or 0)


def compaction(truth):
    """What was compacted before the answer, which is in no other count of the report."""
    parts = [part for part in (truth.get("usage_raw") or {}).get("iterations") or [] if part["type"] == "compaction"]
    number = lambda *keys: sum(part.get(key) or 0 for part in parts for key in keys)
    read, write = number("cache_read_input_tokens"), number("cache_creation_input_tokens")
    hour = sum((part.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0 for part in parts)
    return {
        "input": number("input_tokens") + read + write, "output": number("output_tokens"), "read": read, "write": write,
        "hour": hour, "reasoning": 0, "heard": 0, "spoken": 0,
    }


def nanos(dollars):
    """Half up."""
    return math.floor(dollars * 10**9 + Fraction(1, 2))


def lines(name):
    return map(json.loads, gzip.open(f"{sys.argv[1]}/{name}.jsonl.gz", "rt"))


def main():
    truths = {truth["id"]: truth for truth in lines("truth")}
    # A guardrail's usage has no output; Bedrock's headers have.
    for call in lines("interactions"):
        truth = truths[call["id"]]
        if truth["api_format"] == "bedrock.invoke" and truth.get("output_tokens_incl_reasoning") is None:
            headers = dict(call["response_headers"])
            truth["output_tokens_incl_reasoning"] = headers.get("x-amzn-bedrock-output-token-count")
    prices = json.load(open(sys.argv[2]), parse_float=Fraction)
    checked, differing, sums = 0, [], 0
    for line in open(sys.argv[3]):
        call = json.loads(line)
        truth = truths[call["id"]]
        tier = truth.get("service_tier") or (truth.get("usage_raw") or {}).get("serviceTier")
        total = nanos(cost(prices[call["key"]], tokens(truth), tier))
        compacted = compaction(truth)
        if compacted["input"]:
            total += nanos(cost({**prices[call["key"]], "input_cost_per_request": 0}, compacted, tier))
        checked += 1
        sums += total
        if total != call["total"]:
            differing.append({"id": call["id"], "api": truth["api_format"], "key": call["key"], "exact": total, "weir": call["total"]})
    print(json.dumps({"checked": checked, "nanodollars": sums, "differing": differing}))


if __name__ == "__main__":
    main()
