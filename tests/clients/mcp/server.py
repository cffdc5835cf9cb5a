"""An MCP server over streamable HTTP, and beside it a model that asks for its tools. Prints its port."""

import json
import socket
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from starlette.requests import Request
from starlette.responses import StreamingResponse

server = MCPServer("tools")


@server.tool()
async def weather(city: str, days: int = 1, ctx: Context | None = None) -> str:
    """Reports progress before it answers."""
    if ctx:
        await ctx.report_progress(1, 2, "half")
    return f"sunny in {city} for {days}"


@server.tool()
def fails(why: str) -> str:
    """Always fails."""
    raise ValueError(why)


@server.tool()
def large(size: int) -> str:
    """Answers with so many bytes."""
    return "x" * size


@server.custom_route("/v1/chat/completions", methods=["POST"])
async def model(request: Request) -> StreamingResponse:
    """Asks for the tools that its request lists, their arguments in pieces."""
    asked = (await request.json())["ask"]

    async def events():
        for index, (call, name, arguments) in enumerate(asked):
            text = json.dumps(arguments, indent=1)
            pieces = [text[at : at + 3] for at in range(0, len(text), 3)]
            for at, piece in enumerate(pieces):
                tool = {"index": index, "function": {"arguments": piece}}
                if at == 0:
                    tool |= {"id": call, "type": "function"}
                    tool["function"]["name"] = name
                delta = {"index": 0, "delta": {"tool_calls": [tool]}, "finish_reason": None}
                yield f"data: {json.dumps({'choices': [delta]})}\n\n"
        yield 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n'

    return StreamingResponse(events(), media_type="text/event-stream")


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
app = server.streamable_http_app(json_response=sys.argv[1] == "json", transport_security=None)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
