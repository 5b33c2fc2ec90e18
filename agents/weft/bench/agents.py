"""Agents that only benchmarks use."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar

from pydantic import Field

from weft.agent import Agent, AgentConfig
from weft.context import Context
from weft.row import ChatMessage, Row


class Call(Agent):
    """One call of the model, about the reply of the step before; its own goes into the row under
    the step's name."""

    produces: ClassVar[frozenset[str]] = frozenset({"first", "second", "third"})

    async def handle(self, row: Row, ctx: Context) -> str | None:
        before = row.get("second") or row.get("first") or row.get("text") or row.id
        reply = await ctx.llm.chat(f"{ctx.step}: {before}", max_tokens=60)
        row[ctx.step] = reply.content
        return None


class Copy(Agent):
    """Says what its row's column `text` holds: all of it is new text."""

    async def handle(self, row: Row, ctx: Context) -> str | None:
        row.messages.append(ChatMessage("assistant", row["text"]))
        return None


class PauseConfig(AgentConfig):
    seconds: Annotated[float, Field(ge=0, le=60)] = 0.05


class Pause(Agent):
    """Waits, as for a model."""

    Config: ClassVar[type[AgentConfig]] = PauseConfig
    config: PauseConfig

    async def handle(self, row: Row, ctx: Context) -> str | None:
        await asyncio.sleep(self.config.seconds)
        return None
