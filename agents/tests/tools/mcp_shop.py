"""An MCP server made with the SDK, as people write them: over stdio, or `http PORT` on loopback."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("shop")
paid: dict[str, int] = {}
"""What was paid, by idempotency key."""


@server.tool()
def lookup_order(order: str) -> dict[str, Any]:
    """Looks an order up by its number."""
    return {"order": order, "state": "sent"}


@server.tool()
def pay(amount: int, ctx: Context[Any, Any]) -> str:
    """Pays an amount once."""
    meta: Any = ctx.request_context.meta or {}
    key = str(meta.get("weft.dev/idempotency-key"))
    again = key in paid
    paid.setdefault(key, amount)
    return f"{key} {'again' if again else 'paid'} {paid[key]}"


@server.tool()
def refuse() -> str:
    """Never works."""
    raise ValueError("the shop is closed")


@server.tool()
def die() -> str:
    """Ends the server."""
    os._exit(3)


@server.tool()
async def slow() -> str:
    """Takes its time."""
    await asyncio.sleep(20)
    return "done"


@server.tool()
def huge() -> str:
    """Tells too much."""
    return "x" * 100_000


@server.tool()
def who() -> str:
    """Tells what the server was given."""
    return f"{os.getpid()} {os.environ.get('SHOP_API_KEY')} {os.environ.get('OTHER_SECRET')}"


@server.tool()
def header(ctx: Context[Any, Any]) -> str:
    """Tells the header of the request."""
    return str((ctx.headers or {}).get("authorization"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["http"]:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run()
