"""An agent: a real OpenAI SDK that streams, a real MCP client that runs what the model asks for, behind one proxy.

    agent.py BASE RUN          says, as JSON, what it did and what the answers' headers told it
    agent.py --serve           its model, which always asks for the same tools, and its MCP server, on one port that is printed
"""

import asyncio
import json
import socket
import sys

from mcp import ClientSession
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from openai import DefaultAsyncHttpxClient, AsyncOpenAI

# What the model asks for, turn by turn. The plan wants the customer's bills in the third place.
TURNS = [("search", {"query": "order 1234"}), ("fetch", {"id": "1234"}), ("orders.list", {"customer": "c7"})]
PLAN = "search>fetch>billing.history>answer"
TOKENS = [(400, 20), (460, 24), (520, 18), (580, 64)]


async def agent(base, run):
    told, did = {}, []

    async def remember(response):
        for name, value in response.headers.items():
            if name.startswith("x-weir-"):
                told.setdefault(name, value)

    own = {"x-tenant": "acme", "x-run": run, "x-agent-plan": PLAN}
    http = DefaultAsyncHttpxClient(event_hooks={"response": [remember]})
    client = AsyncOpenAI(api_key="k", base_url=f"{base}/v1", http_client=http, default_headers=own, max_retries=0)
    mcp = create_mcp_http_client(headers=own)
    async with streamable_http_client(f"{base}/mcp", http_client=mcp) as streams, ClientSession(*streams[:2]) as tools:
        await tools.initialize()
        offered = [
            {"type": "function", "function": {"name": tool.name, "parameters": tool.input_schema}}
            for tool in (await tools.list_tools()).tools
        ]
        said = [{"role": "user", "content": "Why was order 1234 charged twice?"}]
        while True:
            last = len(said) == 2 * len(TURNS) + 1
            stream = await client.chat.completions.create(
                model="gpt-4o-mini",
                messages=said,
                tools=offered,
                stream=True,
                stream_options={"include_usage": True},
                extra_headers={"x-weir-outcome": "resolved"} if last else {},
            )
            text, calls = "", {}
            async for chunk in stream:
                for choice in chunk.choices:
                    text += choice.delta.content or ""
                    for piece in choice.delta.tool_calls or []:
                        call = calls.setdefault(piece.index, {"id": piece.id, "name": "", "arguments": ""})
                        call["name"] += piece.function.name or ""
                        call["arguments"] += piece.function.arguments or ""
            did.append("model")
            if not calls:
                return {"did": did, "told": told, "answer": text}
            asked = [{"id": c["id"], "type": "function", "function": {k: c[k] for k in ("name", "arguments")}} for c in calls.values()]
            said.append({"role": "assistant", "tool_calls": asked})
            for call in calls.values():
                result = await tools.call_tool(call["name"], json.loads(call["arguments"]))
                did.append(call["name"])
                said.append({"role": "tool", "tool_call_id": call["id"], "content": result.content[0].text})


def serve():
    import uvicorn
    from mcp.server.mcpserver import MCPServer
    from starlette.responses import StreamingResponse

    server = MCPServer("shop")

    @server.tool(name="search")
    def search(query: str) -> str:
        return f"found: {query}"

    @server.tool(name="fetch")
    def fetch(id: str) -> str:
        return f"order {id}: 2 charges"

    @server.tool(name="orders.list")
    def orders(customer: str) -> str:
        return f"orders of {customer}: 1234, 1235"

    @server.tool(name="billing.history")
    def bills(customer: str) -> str:
        return f"bills of {customer}: none"

    @server.custom_route("/v1/chat/completions", methods=["POST"])
    async def chat(request):
        turn = sum(said["role"] == "tool" for said in (await request.json())["messages"])
        return StreamingResponse(answer(turn), media_type="text/event-stream")

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(server.streamable_http_app(), log_level="warning")
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


async def answer(turn):
    """What the model says in a turn: a tool call, its arguments in pieces; at last some text."""

    def event(delta, **more):
        choice = {"index": 0, "delta": delta, "finish_reason": None, **more}
        return {"choices": [choice], "usage": None}

    if turn < len(TURNS):
        name, arguments = TURNS[turn]
        call = {"index": 0, "id": f"call_{turn}", "type": "function", "function": {"name": name, "arguments": ""}}
        events = [event({"role": "assistant", "content": None, "tool_calls": [call]})]
        text = json.dumps(arguments)
        for at in range(0, len(text), 5):
            events.append(event({"tool_calls": [{"index": 0, "function": {"arguments": text[at : at + 5]}}]}))
        events.append(event({}, finish_reason="tool_calls"))
    else:
        words = "It was charged twice by mistake ; you have it back .".split(" ")
        events = [event({"role": "assistant", "content": ""})] + [event({"content": f"{word} "}) for word in words]
        events.append(event({}, finish_reason="stop"))
    prompt, completion = TOKENS[turn]
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    events.append({"choices": [], "usage": usage})
    for body in events:
        whole = {"id": f"chatcmpl-{turn}", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024-07-18", **body}
        yield f"data: {json.dumps(whole)}\n\n"
        await asyncio.sleep(0.005)
    yield "data: [DONE]\n\n"


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve()
    else:
        print(json.dumps(asyncio.run(agent(sys.argv[1], sys.argv[2]))))
