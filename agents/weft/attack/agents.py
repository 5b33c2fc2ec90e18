"""Agents that leave a trail, so that what a row went through can be told from its end."""

from __future__ import annotations

import asyncio
import os
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from weft.agent import Agent, AgentConfig
from weft.attack.expected import LARGE_BYTES, Fate, fate_of
from weft.context import Context
from weft.row import ChatMessage, Row


class TrailConfig(AgentConfig):
    seconds: Annotated[float, Field(ge=0, le=60)] = 0.03
    """Of a hop, on average."""
    calm: str = ""
    """A file: once it is there, hops take no time."""


class Trail(Agent):
    """Takes its time, adds its step to the row's trail, and does what the row's fate says."""

    Config: ClassVar[type[AgentConfig]] = TrailConfig
    config: TrailConfig
    produces: ClassVar[frozenset[str]] = frozenset({"trail", "next", "large"})

    async def handle(self, row: Row, ctx: Context) -> str | None:
        if not self._is_calm():
            await asyncio.sleep(Random(ctx.seed).expovariate(1 / self.config.seconds))
        trail: list[str] = [*row.get("trail", []), ctx.step]
        fate: Fate = fate_of(row["number"])
        if trail == fate.path and fate.status == "dead":
            raise ValueError("this row is poison")
        if fate.large and len(trail) == 1:
            row["large"] = "x" * LARGE_BYTES
        row["trail"] = trail
        row["next"] = fate.after(len(trail))
        row.messages.append(ChatMessage("assistant", f"hop {ctx.hop} in {ctx.step}"))
        return None

    def _is_calm(self) -> bool:
        return os.path.exists(self.config.calm)
