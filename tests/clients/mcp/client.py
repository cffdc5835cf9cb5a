"""An agent: a model asks for tools, some of them are run, and some that nobody asked for. Prints what came back, a line each."""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

base, mode = sys.argv[1], sys.argv[2]
HEADERS = {"x-run": f"run-{mode}", "x-tenant": "t"}

ASK = [
    ("call_1", "weather", {"city": "Zürich", "days": 2}),
    ("call_2", "mcp__tools__fails", {"why": "no"}),
    ("call_3", "weather", {"city": "never"}),
]
RUN = [
    ("weather", {"city": "Zürich", "days": 2}),
    ("fails", {"why": "no"}),
    ("large", {"size": 200_000}),
    ("nowhere", {}),
]


async def progress(done: float, total: float | None, message: str | None) -> None:
    """Asked for, so that the server tells of it in the stream of an answer."""


async def main() -> None:
    async with httpx2.AsyncClient(headers=HEADERS, timeout=30) as http:
        answer = await http.post(f"{base}/v1/chat/completions", json={"model": "m", "stream": True, "ask": ASK})
        assert answer.status_code == 200, answer.text
        async with Client(streamable_http_client(f"{base}/mcp", http_client=http), mode=mode) as client:
            for name, arguments in RUN:
                try:
                    result = await client.call_tool(name, arguments, progress_callback=progress)
                    said = {"error": bool(result.is_error), "text": len(result.content[0].text)}
                except Exception as broken:  # noqa: BLE001
                    said = {"raised": type(broken).__name__}
                print(json.dumps({"tool": name, **said}), flush=True)


asyncio.run(main())
