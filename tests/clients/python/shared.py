"""What the scripts of the SDKs share."""

import json

PROMPT = "What is the weather in Paris? Think, then say it in a few words."

# How the upstream is steered (weirctl's `upstream`). A token is one chunk, roughly.
TEXT = "tokens=30,reasoning=0,tools=0,prompt=40,cached=16"
TOOL = "tools=1,reasoning=0"
THINK = "tokens=10,reasoning=8,tools=0"
REFUSED = "status=429"
BROKEN = "tokens=20,reasoning=0,tools=0,end=error,at=5"
CUT = "tokens=20,reasoning=0,tools=0,end=cut,at=5"
# Slow enough that the client is gone before the end.
SLOW = "tokens=400,reasoning=0,tools=0,prefill=5,gap=25"

# An answer broken off by the client: after so many of the SDK's chunks.
TAKEN = 4

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Call:
    """One call: its name, how it steers the upstream, and a function that makes it.

    The function gets the base URL, the headers to send and the list to put chunks into, and gives the facts that a
    record has to say. Facts that are known beforehand are given here; they count also where the function raises.
    """

    def __init__(self, name, steer, run, facts=None):
        self.name, self.steer, self._run, self._facts = name, steer, run, facts or {}

    def make(self, base, headers):
        chunks, error, facts = [], None, {}
        try:
            facts = self._run(base, headers, chunks) or {}
        except Exception as raised:  # what an SDK raises is what this is about
            error = {"class": type(raised).__name__, "says": says(raised, base)}
            facts = {"error_type": named(raised)} if named(raised) else {}
        return {"chunks": chunks, "error": error}, {**facts, **self._facts}


def named(raised):
    """The provider's name of an error, where the SDK hands it out: each in its own place."""
    body = getattr(raised, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else {}
    response = getattr(raised, "response", None)
    return (
        getattr(raised, "type", None)  # OpenAI
        or inner.get("type")  # Anthropic
        or getattr(raised, "status", None)  # Google
        or (response.get("Error", {}).get("Code") if isinstance(response, dict) else None)  # AWS
    )


def says(raised, base):
    """What an exception says: the answer's body where the SDK hands it out, without the address it came from."""
    return str(getattr(raised, "body", None) or raised).replace(base, "")[:300]


def plain(value):
    """A value of an SDK as plain JSON."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return json.loads(json.dumps(value, default=lambda other: other.decode() if isinstance(other, bytes) else str(other)))


def take(stream, chunks, most=None):
    """Puts a stream's chunks into the list, all of them or so many; gives them as the SDK's own objects."""
    taken = []
    for chunk in stream:
        taken.append(chunk)
        chunks.append(plain(chunk))
        if most is not None and len(taken) >= most:
            break
    return taken


# Variants in which Envoy compresses what the upstream sends, each by the name of its encoding.
COMPRESSED = ("br", "gzip", "zstd")

COMPLETE = {"ended": "complete", "status": 200, "error_type": None, "usage.source": "reported", "unread": 0}
ABORTED = {"ended": "client_abort", "status": 200, "finish_reasons": None, "stream": True}
FAILED_LATE = {"ended": "error", "status": 200, "stream": True, "finish_reasons": None}
TRUNCATED = {"ended": "truncated", "status": 200, "stream": True, "finish_reasons": None}
