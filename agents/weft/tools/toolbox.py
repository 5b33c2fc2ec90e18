"""`ctx.tools`: the tools as an agent's author sees them, with every call on record.

A tool that fails is data for the dialogue: bad arguments, an unknown name, an exception and a
time-out all become the text of a `tool` message, and the reason stands in the trace.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any

from weft.engines.base import EngineError
from weft.llm import LLM
from weft.row import ChatMessage, Row, ToolCall
from weft.segment import ToolTrace
from weft.tools.base import Tool, ToolCallContext, ToolError
from weft_api.errors import did_you_mean

MAX_ARGUMENTS = 64 * 1024
"""Characters of arguments that a call may bring."""
MAX_ERROR = 500
"""Characters of an error that the model is told."""


class Toolbox:
    """Calls of the plan's tools on behalf of one hop."""

    __slots__ = ("_ask", "_hop", "_log", "_row_id", "_tools", "messages", "traces")

    def __init__(
        self,
        tools: Mapping[str, Tool],
        *,
        row_id: str,
        hop: int,
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        ask: Callable[[], LLM],
    ) -> None:
        self._tools = tools
        self._row_id = row_id
        self._hop = hop
        self._log = log
        self._ask = ask
        self.traces: list[ToolTrace] = []
        """In the order in which the calls began."""
        self.messages: list[ChatMessage | None] = []
        """The message that came of each trace; None while it is under way."""

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def definitions(self, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """The definitions (OpenAI `tools` form) of the tools with these names; None: of all.

        The name of an MCP server stands for all its tools. Raises `ToolError` for a name that the
        pipeline does not define.
        """
        if names is None:
            return [tool.definition for tool in self._tools.values()]
        wanted: list[dict[str, Any]] = []
        for name in names:
            members = [one.definition for one in self._tools.values() if one.group == name]
            wanted += members or [self._tool(name).definition]
        return wanted

    def _tool(self, name: str) -> Tool:
        tool = self._tools.get(name)
        if tool is None:
            hint = did_you_mean(name, self._tools, otherwise="the pipeline defines none")
            raise ToolError(f"there is no tool `{name[:80]}`; {hint}")
        return tool

    async def call(self, call: ToolCall, row: Row) -> ChatMessage:
        """Run the call and give the `tool` message that answers it; the row is not changed.

        Raises only `EngineError` (a simulated tool whose model failed): that says nothing about
        the dialogue, so the hop is to be tried again.
        """
        at = len(self.traces)
        trace = ToolTrace(call.id, call.name[:80], call.arguments[:MAX_ARGUMENTS], "", 0.0)
        self.traces.append(trace)
        self.messages.append(None)
        began = perf_counter()
        try:
            trace.result = await self._run(call, row, trace)
        except ToolError as error:
            trace.error = str(error)[:MAX_ERROR]
            trace.result = json.dumps({"error": trace.error}, ensure_ascii=False)
        finally:
            trace.seconds = perf_counter() - began
        message = ChatMessage("tool", trace.result, tool_call_id=call.id, name=call.name[:80])
        self.messages[at] = message
        return message

    async def _run(self, call: ToolCall, row: Row, trace: ToolTrace) -> str:
        tool = self._tool(call.name)
        trace.version = tool.version
        arguments = _arguments(tool, call)
        context = ToolCallContext(call, row, self._row_id, self._hop, self._log, self._ask)
        try:
            async with asyncio.timeout(tool.timeout):
                result = await tool.call(arguments, context)
        except TimeoutError:
            raise ToolError(f"{tool.name} gave no answer within {tool.timeout:g} s") from None
        except (ToolError, EngineError):
            raise
        except Exception as error:
            self._log.warning("tool %s failed: %s: %s", tool.name, type(error).__name__, error)
            raise ToolError(f"{tool.name} failed: {type(error).__name__}: {error}") from None
        if len(result) > tool.max_result:
            raise ToolError(
                f"{tool.name} gave {len(result)} characters, more than the {tool.max_result} "
                "allowed; ask for less"
            )
        return result


def _arguments(tool: Tool, call: ToolCall) -> dict[str, Any]:
    """The call's arguments, parsed and checked against the tool's schema. Raises `ToolError`."""
    if len(call.arguments) > MAX_ARGUMENTS:
        raise ToolError(f"the arguments have {len(call.arguments)} characters; send fewer")
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as error:
        raise ToolError(f"the arguments are not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise ToolError(f"the arguments are a JSON {type(arguments).__name__}, not an object")
    fault = next(iter(tool.validator.iter_errors(arguments)), None)
    if fault is not None:
        where = ".".join(str(part) for part in fault.absolute_path)
        raise ToolError(f"bad arguments{f' at `{where}`' if where else ''}: {fault.message}")
    return arguments
