"""EchoAgent: no model, no waiting; for measuring what everything else costs."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from weft.agent import Agent, AgentConfig
from weft.context import Context
from weft.row import ChatMessage, Row

_TEXT = "The quick brown fox jumps over the lazy dog; it does so again. "


class EchoConfig(AgentConfig):
    """What can be set."""

    chars: Annotated[int, Field(ge=0, le=10_000_000)] = 1024
    """Mean length of the text that a hop appends."""
    spread: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Lengths are uniform within `chars` ± this part of it; the same row and hop, the same."""
    max_turns: Annotated[int, Field(ge=1)] = 8
    """`done` turns true with this many messages."""


class EchoAgent(Agent):
    """Appends a text and counts: sets `turns`, and `done` once there are `maxTurns`.

    ```yaml
    kind: AgentPool
    metadata: {name: echo}
    spec:
      pipelineRef: {name: bench}
      agent: weft.builtin:EchoAgent
      config: {chars: 1024, spread: 0.2, maxTurns: 8}
    ```
    """

    Config: ClassVar[type[AgentConfig]] = EchoConfig
    config: EchoConfig
    uses_tools = False
    produces = frozenset({"turns", "done"})

    def __init__(self, config: EchoConfig) -> None:
        super().__init__(config)
        self._least = round(config.chars * (1 - config.spread))
        self._range = round(config.chars * (1 + config.spread)) - self._least + 1
        longest = self._least + self._range
        self._text = _TEXT * (longest // len(_TEXT) + 1)

    async def handle(self, row: Row, ctx: Context) -> str | None:
        turns = len(row.messages)
        # Knuth's multiplicative hash: a seeded generator would cost more than all else here.
        drawn = ((ctx.row_key * 2654435761) ^ (turns * 40503 * 65537)) >> 4 & 0xFFFFFF
        length = self._least + drawn % self._range
        row.messages.append(ChatMessage("assistant" if turns % 2 else "user", self._text[:length]))
        row.data["turns"] = turns + 1
        row.data["done"] = turns + 1 >= self.config.max_turns
        return None
