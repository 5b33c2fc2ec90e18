"""A session with an MCP server: opened when it is needed, and again after the server has died.

*Hazard:* the SDK's client lives in the task that opened it: when its transport breaks, that task is
cancelled. So a task of its own holds the client, and calls come from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import CallToolResult, RequestParamsMeta
from mcp_types import Tool as Offered

from weft.engines.base import EngineError
from weft_api.engine import ApiKeyRef
from weft_api.mcp import Mcp

OPEN_TIMEOUT = 30.0
"""Seconds that a server has to start, or to answer, and to list its tools."""
CLOSE_TIMEOUT = 10.0
"""Seconds until a session that does not end is abandoned; the SDK kills a process before that."""
MOST_PAGES = 64
"""Of a list of tools."""

log = logging.getLogger(__name__)


class ServerGone(Exception):
    """The session broke while a call was under way, or before."""


class McpServer:
    """One server. Calls may run concurrently, `spec.concurrency` of them at once."""

    def __init__(self, name: str, spec: Mcp, environ: Mapping[str, str]) -> None:
        self.name = name
        self.spec = spec
        self._environ = environ
        self._slots = asyncio.Semaphore(spec.concurrency)
        self._opening = asyncio.Lock()
        self._session: _Session | None = None
        self.users = 0
        """Plan generations that use it; see `mcp.py`."""

    async def tools(self) -> list[Offered]:
        """What it offers, as far as the manifest allows. Raises `EngineError`."""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                return self._allowed(await self._listed())
        except TimeoutError:
            problem = f"gave no list of its tools within {OPEN_TIMEOUT:g} s"
        except (ServerGone, MCPError) as error:
            problem = str(error)
        raise EngineError(
            f"tools[{self.name}].mcp: {problem}; see whether the server is up", transient=True
        )

    async def _listed(self) -> list[Offered]:
        session = await self._open()
        found: list[Offered] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await session.ask(session.client.list_tools(cursor=cursor))
            found += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    def _allowed(self, offered: list[Offered]) -> list[Offered]:
        wanted = self.spec.tools
        if wanted is None:
            return offered
        by_name = {tool.name: tool for tool in offered}
        for at, name in enumerate(wanted):
            if name not in by_name:
                there = ", ".join(sorted(by_name)) or "none"
                raise EngineError(
                    f"tools[{self.name}].mcp.tools[{at}]: the server has no tool `{name}`; it has "
                    f"{there[:300]}"
                )
        return [by_name[name] for name in wanted]

    async def call(
        self, tool: str, arguments: dict[str, Any], meta: dict[str, Any]
    ) -> CallToolResult:
        """The result. A call that the server died over is made once more, with
        the same `meta`. Raises `TimeoutError` after `spec.timeout`, `ServerGone`, `MCPError`."""
        async with self._slots, asyncio.timeout(self.spec.timeout.seconds):
            try:
                return await self._call(tool, arguments, meta)
            except ServerGone as gone:
                log.warning("MCP server %s: %s; opened anew", self.name, gone)
            return await self._call(tool, arguments, meta)

    async def _call(
        self, tool: str, arguments: dict[str, Any], meta: dict[str, Any]
    ) -> CallToolResult:
        session = await self._open()
        asking = session.client.call_tool(tool, arguments, meta=cast(RequestParamsMeta, meta))
        result: CallToolResult = await session.ask(asking)
        return result

    async def _open(self) -> _Session:
        async with self._opening:
            if self._session is None or self._session.broken:
                if self._session is not None:
                    await self._session.close()
                self._session = None
                session = _Session(self._client)
                await session.open()
                self._session = session
            return self._session

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        spec = self.spec
        if spec.url is not None:
            headers = {one.name: one.prefix + self._secret(one.secret_ref) for one in spec.headers}
            async with (
                create_mcp_http_client(headers=headers) as http,
                Client(streamable_http_client(spec.url, http_client=http), cache=None) as client,
            ):
                yield client
        else:
            started = stdio_client(self._process(), errlog=sys.__stderr__ or sys.stderr)
            async with Client(started, cache=None) as client:
                yield client

    def _process(self) -> StdioServerParameters:
        command, *args = self.spec.command or [""]
        env = {one.name: self._secret(one.secret_ref) for one in self.spec.env}
        if command in ("python", "python3"):
            # The agent's own Python, and the modules that the agent finds.
            command = sys.executable
            env.setdefault("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        return StdioServerParameters(command=command, args=args, env=env)

    def _secret(self, ref: ApiKeyRef) -> str:
        value = self._environ.get(ref.variable)
        if not value:
            raise EngineError(
                f"tools[{self.name}].mcp: the environment variable {ref.variable} is not set "
                f"(secretRef {ref.name}, key {ref.key}); export it, or make the Secret"
            )
        return value

    async def close(self) -> None:
        """End the session; a process that it started ends with it."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class _Session:
    """The task that holds a client."""

    def __init__(self, connect: Any) -> None:
        self._connect = connect
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._fault: Exception | None = None
        self.client: Client

    @property
    def broken(self) -> bool:
        return self._over.is_set() or self._task is None or self._task.done()

    async def open(self) -> None:
        """Raises `ServerGone`, `EngineError`."""
        opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(opened))
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                held: set[asyncio.Future[Any]] = {self._task, opened}
                await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        except (TimeoutError, asyncio.CancelledError) as stopped:
            await self.close()
            if isinstance(stopped, TimeoutError):
                raise ServerGone(f"did not open within {OPEN_TIMEOUT:g} s") from None
            raise
        if not opened.done():
            raise self._gone()
        self.client = opened.result()

    async def _hold(self, opened: asyncio.Future[Client]) -> None:
        try:
            async with self._connect() as client:
                opened.set_result(client)
                await self._over.wait()
        except Exception as error:
            self._fault = error
        finally:
            self._over.set()

    def _gone(self) -> Exception:
        fault = _innermost(self._fault)
        if isinstance(fault, EngineError):
            return fault
        told = " ".join(f"{type(fault).__name__}: {fault}".split()) if fault else "it ended"
        return ServerGone(f"the connection is lost ({told[:300]})")

    async def ask(self, asking: Any) -> Any:
        """What comes of a coroutine of the client. Raises `ServerGone` when the session breaks."""
        over = asyncio.ensure_future(self._over.wait())
        task = asyncio.ensure_future(asking)
        try:
            await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self._gone()
            try:
                return task.result()
            except MCPError as error:
                if error.code not in _LOST:
                    raise
                self._over.set()
                raise ServerGone(str(error)) from None
            except Exception as error:
                if isinstance(error, OSError | RuntimeError) or type(error).__module__ == "anyio":
                    self._over.set()
                    raise ServerGone(f"{type(error).__name__}: {error}") from None
                raise
        finally:
            over.cancel()
            task.cancel()

    async def close(self) -> None:
        self._over.set()
        if self._task is None:
            return
        _, pending = await asyncio.wait({self._task}, timeout=CLOSE_TIMEOUT)
        for task in pending:
            task.cancel()


_LOST = frozenset({-32000, -32600})
"""`CONNECTION_CLOSED`; and `INVALID_REQUEST`, which the SDK gives for a session that an HTTP server
does not know any more."""


def _innermost(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
