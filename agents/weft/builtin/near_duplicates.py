"""NearDuplicateAgent: has something like this row come by already?

Similarity is the Jaccard index of the texts' runs of words (shingles), estimated by MinHash; only
rows that share a band of the signature are compared (locality-sensitive hashing).
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from rensa import RMinHash, RMinHashLSH

from weft.agent import Agent, AgentConfig
from weft.builtin.checks import last_answer, transcript
from weft.context import Context
from weft.row import Row

if TYPE_CHECKING:
    from weft.data.accepted import AcceptedRows

PERMUTATIONS = 128
"""Of a signature: a standard error of the estimate of 1/√128, about 0.09 at most."""
BANDS = 32
"""Of four values each: pairs of similarity 0.7 share one with a probability of 0.9998, of 0.8
practically always."""
SEED = 42
MOST_CHARACTERS = 100_000
"""Of a text that is looked at."""

_WORD = re.compile(r"\w+")


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
    capacity: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000
    """Rows that are remembered, about 2 KiB each; the oldest is forgotten first."""


class NearDuplicateAgent(Agent):
    """Sets `duplicate_of` (the other row's id) and `reason` on a row that is like an earlier one:

    ```yaml
    kind: AgentPool
    metadata: {name: unique}
    spec:
      pipelineRef: {name: support}
      agent: weft.builtin:NearDuplicateAgent
      config: {on: answer, threshold: 0.8}
      replicas: 1
    ---
    # in the pipeline's flow, last but for what cannot reject any more
    - name: unique
      next:
      - {to: $reject, when: "has(row.duplicate_of)"}
      - {to: $accept}
    ```

    The memory is the process's own. At its start it is rebuilt from the accepted rows of the
    output. So with one replica no two rows that it has let pass are alike, but for: rows that had
    passed and were not committed yet when the process died; what is older than `capacity`; and the
    error of the estimate. Several replicas know of each other's rows only what was committed before
    they started. A row that passes and is rejected later still counts as seen.
    """

    Config: ClassVar[type[AgentConfig]] = NearDuplicateConfig
    config: NearDuplicateConfig
    uses_tools = False
    produces = frozenset({"duplicate_of", "reason"})

    def __init__(self, config: NearDuplicateConfig) -> None:
        super().__init__(config)
        self._seen = Seen(config.threshold, config.capacity)
        self._loaded = False
        self._loading = asyncio.Lock()

    async def handle(self, row: Row, ctx: Context) -> str | None:
        if not self._loaded:
            await self._load(ctx.accepted)
        row.data.pop("duplicate_of", None)
        found = self._seen.add(row.id, self._shingles(row))
        if found is not None:
            other, likeness = found
            row["duplicate_of"] = other
            row["reason"] = f"it is like row {other} (similarity about {likeness:.2f})"
        return None

    async def _load(self, accepted: AcceptedRows) -> None:
        """Learn what is committed, once; a store that fails fails the attempt."""
        async with self._loading:
            if not self._loaded:
                await asyncio.to_thread(self._read, accepted)
                self._loaded = True

    def _read(self, accepted: AcceptedRows) -> None:
        for stored in accepted.all():
            self._seen.add(stored.id, self._shingles(stored), keep_duplicates=True)

    def _shingles(self, row: Row) -> list[str]:
        config = self.config
        if config.column is not None:
            text = str(row.get(config.column, ""))
        else:
            text = last_answer(row) if config.on == "answer" else transcript(row)
        return shingles(text, config.shingle)


class Seen:
    """Rows by their signatures; bounded."""

    def __init__(self, threshold: float, capacity: int) -> None:
        self._threshold = threshold
        self._capacity = capacity
        self._index = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=BANDS)
        self._rows: OrderedDict[str, tuple[int, RMinHash]] = OrderedDict()
        self._names: dict[int, str] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self, name: str, shingles: Iterable[str], *, keep_duplicates: bool = False
    ) -> tuple[str, float] | None:
        """The row that is most like this one, with the estimate; None, and this one is remembered,
        where none is like it. A row is never like itself: one that comes again takes its own
        place."""
        signature = RMinHash(num_perm=PERMUTATIONS, seed=SEED)
        signature.update(list(shingles))
        self._forget(name)
        best: tuple[str, float] | None = None
        for key in self._index.query(signature):
            other = self._names[key]
            likeness = float(signature.jaccard(self._rows[other][1]))
            if likeness >= self._threshold and (best is None or likeness > best[1]):
                best = other, likeness
        if best is None or keep_duplicates:
            self._remember(name, signature)
        return best

    def _remember(self, name: str, signature: RMinHash) -> None:
        if len(self._rows) >= self._capacity:
            self._forget(next(iter(self._rows)))
        self._rows[name] = self._next, signature
        self._names[self._next] = name
        self._index.insert(self._next, signature)
        self._next += 1

    def _forget(self, name: str) -> None:
        if name in self._rows:
            key, _ = self._rows.pop(name)
            del self._names[key]
            self._index.remove(key)


def shingles(text: str, length: int) -> list[str]:
    """Runs of so many words, lower case and without punctuation; the whole of a shorter text."""
    words = _WORD.findall(text[:MOST_CHARACTERS].lower())
    if len(words) <= length:
        return [" ".join(words)]
    return [" ".join(words[at : at + length]) for at in range(len(words) - length + 1)]
