"""ToolAgent: answers the tool calls of a dialogue."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar

from pydantic import Field

from weft.agent import Agent, AgentConfig
from weft.context import Context
from weft.row import ChatMessage, Row, ToolCall


class ToolConfig(AgentConfig):
    """What can be set."""

    parallel: Annotated[int, Field(ge=1, le=64)] = 8
    """Calls of one message that are run at once. 1 for tools whose effects depend on order."""


class ToolAgent(Agent):
    """Runs the calls of the last assistant message and appends one `tool` message for each.

    ```yaml
    kind: AgentPool
    metadata: {name: tools}
    spec:
      pipelineRef: {name: support}
      agent: weft.builtin:ToolAgent
      engine: {simulator: {}}        # plays the tools that are `simulated`
    ```

    The answers stand in the order of the calls, however long each took. A call that fails is
    answered with the error, for the assistant to deal with.
    """

    Config: ClassVar[type[AgentConfig]] = ToolConfig
    config: ToolConfig

    async def handle(self, row: Row, ctx: Context) -> str | None:
        calls = row.pending_tool_calls
        if len(calls) == 1:
            row.messages.append(await ctx.tools.call(calls[0], row))
        elif calls:
            row.messages.extend(await self._all(calls, row, ctx))
        return None

    async def _all(self, calls: list[ToolCall], row: Row, ctx: Context) -> list[ChatMessage]:
        room = asyncio.Semaphore(self.config.parallel)

        async def one(call: ToolCall) -> ChatMessage:
            async with room:
                return await ctx.tools.call(call, row)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(call)) for call in calls]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]
