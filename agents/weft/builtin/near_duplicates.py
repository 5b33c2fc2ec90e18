"""NearDuplicateAgent: has something like this row come by already?"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from weft.agent import Agent, AgentConfig
from weft.builtin.checks import last_answer, transcript
from weft.builtin.likeness import Found, Seen, Signature, shingles, signature
from weft.context import Context
from weft.row import Row

if TYPE_CHECKING:
    from weft.builtin.shared_index import SharedIndex
    from weft.data.accepted import AcceptedRows


class NearDuplicateConfig(AgentConfig):
    """What can be set."""

    on: Literal["answer", "dialogue"] = "dialogue"
    """The assistant's last answer, or what user and assistant say."""
    column: str | None = None
    """A column or field to compare by instead."""
    threshold: Annotated[float, Field(ge=0.7, le=1)] = 0.8
    """Similarity from which two rows are alike."""
    shingle: Annotated[int, Field(ge=1, le=16)] = 3
    """Words in a run; texts with fewer words are compared as a whole."""
    capacity: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Rows that are remembered, about 6 KiB each; the oldest is forgotten first."""
    parts: Literal[1, 2, 4, 8] = 1
    """Processes that the index is divided among. Each remembers all rows by its part of their
    signatures: about 4, 3 and 2.5 KiB a row and process in 2, 4 and 8 parts."""

    def signature(self, row: Row) -> Signature:
        """Of what is compared."""
        if self.column is not None:
            text = str(row.get(self.column, ""))
        else:
            text = last_answer(row) if self.on == "answer" else transcript(row)
        return signature(shingles(text, self.shingle), self.parts)


class NearDuplicateAgent(Agent):
    """Sets `duplicate_of` (the other row's id) and `reason` on a row that is like an earlier one:

    ```yaml
    kind: AgentPool
    metadata: {name: unique}
    spec:
      pipelineRef: {name: support}
      agent: weft.builtin:NearDuplicateAgent
      config: {on: answer, threshold: 0.8}
      replicas: 2
    ---
    # in the pipeline's flow, last but for what cannot reject any more
    - name: unique
      next:
      - {to: $reject, when: "has(row.duplicate_of)"}
      - {to: $accept}
    ```

    All replicas ask one index, in `parts` processes of its own (`shared_index.py`). At its start it
    is rebuilt from the accepted rows of the output. So no two rows that have passed are alike, but
    for: rows that had passed and were not committed yet when a part of the index died; what is
    older than `capacity`; and the error of the estimate. A row that passes and is rejected later
    still counts as seen.
    """

    Config: ClassVar[type[AgentConfig]] = NearDuplicateConfig
    config: NearDuplicateConfig
    uses_tools = False
    produces = frozenset({"duplicate_of", "reason"})

    def __init__(self, config: NearDuplicateConfig) -> None:
        super().__init__(config)
        self._index: SharedIndex | _OwnIndex | None = None
        self._making = asyncio.Lock()

    async def handle(self, row: Row, ctx: Context) -> str | None:
        async with self._making:
            if self._index is None:
                self._index = await self._make(ctx)
        row.data.pop("duplicate_of", None)
        found = await self._index.add(row.id, self.config.signature(row))
        if found is not None:
            other, share = found
            row["duplicate_of"] = other
            row["reason"] = f"it is like row {other} (similarity about {share:.2f})"
        return None

    async def close(self) -> None:
        if self._index is not None:
            await self._index.close()

    async def _make(self, ctx: Context) -> SharedIndex | _OwnIndex:
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            from weft.builtin.shared_index import SharedIndex

            return SharedIndex(self.config, ctx.step, ctx.accepted.uri)
        own = _OwnIndex(self.config)
        await asyncio.to_thread(own.load, ctx.accepted)
        return own


class _OwnIndex:
    """Where rows run in one process, without Ray."""

    def __init__(self, config: NearDuplicateConfig) -> None:
        self._config = config
        self._parts = [
            Seen(config.threshold, config.capacity, part=number, parts=config.parts)
            for number in range(config.parts)
        ]

    def load(self, accepted: AcceptedRows) -> None:
        """Learn what is committed; a store that fails fails the attempt."""
        for stored in accepted.all():
            signed = self._config.signature(stored)
            for part in self._parts:
                part.add(stored.id, signed, keep_duplicates=True)

    async def add(self, name: str, signed: Signature) -> Found | None:
        for number, part in enumerate(self._parts):
            if found := part.add(name, signed):
                for earlier in self._parts[:number]:
                    earlier.forget(name, attempt=0)
                return found
        return None

    async def close(self) -> None:
        pass
