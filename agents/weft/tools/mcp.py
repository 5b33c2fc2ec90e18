"""Tools of MCP servers, under their own names.

A process has one session with each server, whatever number of plan generations use it. What a tool
answers becomes text for the model; a server that fails becomes an error in the dialogue.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from mcp import MCPError

from weft.engines.base import EngineError
from weft.tools.base import Tool, ToolCallContext, ToolError
from weft.tools.mcp_server import McpServer, ServerGone
from weft_api.mcp import Mcp

if TYPE_CHECKING:
    from mcp_types import Tool as Offered

    from weft_api.pipeline import Tool as ToolSpec

IDEMPOTENCY_KEY = "weft.dev/idempotency-key"
"""Key in the `_meta` of a call: the same for every attempt at it, different for all others."""

_servers: dict[tuple[asyncio.AbstractEventLoop, str], McpServer] = {}
"""Of this process, by what the manifest says of them."""


class McpTool(Tool):
    """One tool of a server."""

    def __init__(self, server: McpServer, offered: Offered) -> None:
        definition = offered.model_dump_json(
            include={"name", "description", "input_schema", "output_schema", "annotations"}
        )
        where = server.spec.model_dump_json()
        super().__init__(
            offered.name,
            offered.description or offered.title or offered.name,
            {"type": "object", "properties": {}, **offered.input_schema},
            version=sha256(f"{where} {definition}".encode()).hexdigest()[:12],
            # The server's own limit, which does not count the wait for a slot.
            timeout=None,
            max_result=server.spec.max_result.bytes,
        )
        self.group = server.name
        self._server = server

    async def call(self, arguments: dict[str, Any], call: ToolCallContext) -> str:
        try:
            result = await self._server.call(self.name, arguments, {IDEMPOTENCY_KEY: call.key})
        except TimeoutError:
            seconds = self._server.spec.timeout.seconds
            raise ToolError(f"{self.name} gave no answer within {seconds:g} s") from None
        except (ServerGone, MCPError, EngineError) as error:
            raise ToolError(f"{self.name} is out of order: {error}") from None
        text = text_of(result)
        if result.is_error:
            raise ToolError(text or f"{self.name} failed and did not say why")
        return text


def text_of(result: Any) -> str:
    """What a `CallToolResult` says: its texts; its structured content where it has no text."""
    parts: list[str] = []
    for block in result.content:
        if block.type == "text":
            parts.append(block.text)
        elif block.type == "resource" and hasattr(block.resource, "text"):
            parts.append(block.resource.text)
        elif block.type == "resource_link":
            parts.append(str(block.uri))
        else:
            parts.append(f"[{block.type} left out]")
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(parts)


class Sessions:
    """The servers that one generation of the plan uses."""

    def __init__(self, specs: Iterable[ToolSpec]) -> None:
        self._specs: list[tuple[str, Mcp]] = [(spec.name, spec.mcp) for spec in specs if spec.mcp]
        self._held: list[tuple[asyncio.AbstractEventLoop, str]] = []
        self._joining = asyncio.Lock()
        self._joined: dict[str, Tool] | None = None

    def __bool__(self) -> bool:
        return bool(self._specs)

    async def join(self, others: Mapping[str, Tool]) -> dict[str, Tool]:
        """The other tools and those of the servers. Raises `EngineError`: one that may be passing
        where a server does not answer."""
        async with self._joining:
            if self._joined is None:
                self._joined = await self._join(others)
            return self._joined

    async def _join(self, others: Mapping[str, Tool]) -> dict[str, Tool]:
        tools = dict(others)
        for name, spec in self._specs:
            server = self._server(name, spec)
            for offered in await server.tools():
                if offered.name in tools:
                    other = tools[offered.name].group
                    raise EngineError(
                        f"tools[{name}].mcp: `{offered.name}` is a tool of {other} too; "
                        "leave one of the two out by mcp.tools"
                    )
                try:
                    tools[offered.name] = McpTool(server, offered)
                except ToolError as error:
                    raise EngineError(f"tools[{name}].mcp: {error}") from None
        return tools

    def _server(self, name: str, spec: Mcp) -> McpServer:
        key = (asyncio.get_running_loop(), f"{name} {spec.model_dump_json()}")
        server = _servers.get(key)
        if server is None:
            server = _servers[key] = McpServer(name, spec, os.environ)
        if key not in self._held:
            self._held.append(key)
            server.users += 1
        return server

    async def close(self) -> None:
        """End the sessions that no other generation uses."""
        held, self._held = self._held, []
        for key in held:
            server = _servers[key]
            server.users -= 1
            if not server.users:
                del _servers[key]
                await server.close()
