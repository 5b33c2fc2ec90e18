"""Rows that were handed in while the pipeline ran: an append-only log beside the output.

A row is accepted when its batch is in the log, and not before; so what is accepted outlives every
process. Batches are numbered files that are created only where none is there: of two heads that
believe to be the only one, the one that comes second finds the number taken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from weft.data.beside import Beside
from weft.data.errors import OutputError, Superseded
from weft.data.seen import SeenIds
from weft.data.source import SourceRow, ids_of
from weft.data.values import identity, plain
from weft.protocol.committed import ORDINAL_BITS
from weft_api.plan import Source

PARTITION = 1
"""Source partition of these rows' keys; the source's own are in partition 0."""
MOST_ROWS = 1_000_000
"""Over the life of an output: the ids are kept in memory, about 80 bytes each."""
MOST_FAULTS = 20

_FOLDER = "injected"


class Injected(msgspec.Struct):
    """A row as it stands in the log."""

    id: str
    row: dict[str, Any]
    priority: int | None = None
    """None: by the pipeline's own `source.priority`."""
    deadline: float | None = None
    """In Unix time; None: by the pipeline's own `source.deadline`."""


class BadRows(Exception):
    """Rows that cannot be taken; a line for each, and none of the batch is accepted."""


class InjectedRows:
    """The log as its only writer sees it. Calls block; they raise `OutputError` when the store
    fails for too long."""

    def __init__(
        self, uri: str, source: Source, storage_options: Mapping[str, str], *, patience: float = 10
    ) -> None:
        """`uri`: the output's."""
        self._files = Beside(uri, storage_options, patience=patience)
        self._source = source
        self._options = storage_options
        self._ids: set[bytes] = set()
        self._firsts: list[int] = []
        """Of each batch, the ordinal of its first row."""
        self._of_source: SeenIds | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def load(self) -> None:
        """Read back what is in the log."""
        for number in range(1, len(self._files.names(_FOLDER)) + 1):
            self._firsts.append(len(self._ids))
            self._ids.update(_digest(row.id) for row in self._read(number))

    def keys(self) -> range:
        """Of all rows in the log."""
        return range(PARTITION << ORDINAL_BITS, (PARTITION << ORDINAL_BITS) + len(self))

    @property
    def batches(self) -> int:
        """How many batches the log has; they are numbered from 1."""
        return len(self._firsts)

    def append(self, rows: Sequence[Injected]) -> list[str]:
        """Accept the rows whose ids are new; returns the ids of the others. Durable on return.

        Raises `BadRows`; `Superseded` where another head has appended meanwhile."""
        known: list[str] = []
        fresh: dict[bytes, Injected] = {}
        of_source = self._known_to_source([row.id for row in rows])
        for row in rows:
            digest = _digest(row.id)
            if digest in self._ids or digest in fresh or row.id in of_source:
                known.append(row.id)
            else:
                fresh[digest] = row
        if len(self._ids) + len(fresh) > MOST_ROWS:
            raise BadRows(f"an output takes at most {MOST_ROWS:,} injected rows; make a new one")
        if fresh:
            content = b"\n".join(map(msgspec.json.encode, fresh.values())) + b"\n"
            if not self._files.create(_name(self.batches + 1), content):
                raise Superseded("another head has appended to the log of injected rows")
            self._firsts.append(len(self._ids))
            self._ids.update(fresh)
        return known

    def batch(self, number: int) -> list[tuple[SourceRow, Injected]]:
        """The rows of a batch, with their keys as ordinals, and as they were handed in."""
        first = PARTITION << ORDINAL_BITS | self._firsts[number - 1]
        return [
            (SourceRow(key, row.id, row.row), row)
            for key, row in enumerate(self._read(number), first)
        ]

    def _read(self, number: int) -> list[Injected]:
        content = self._files.read(_name(number))
        lines = (content or b"").splitlines()
        try:
            return [msgspec.json.decode(line, type=Injected) for line in lines]
        except msgspec.MsgspecError as error:
            raise OutputError(f"{self._files.uri}/{_name(number)}: damaged: {error}") from None

    def _known_to_source(self, ids: list[str]) -> set[str]:
        """Those that rows of the source have; it is read once for its ids, where it has any."""
        dataset = self._source.dataset
        if dataset is None or dataset.id_field is None:
            if numbers := [text for text in ids if text.isdecimal()]:
                raise BadRows(
                    f"id {numbers[0]!r}: plain numbers name the source's rows; use other ids"
                )
            return set()
        if self._of_source is None:
            self._of_source = ids_of(self._source, self._options)
        found = self._of_source.has(ids)
        return {text for text, there in zip(ids, found, strict=True) if there}


def parse_rows(
    body: bytes, source: Source, priority: int | None, deadline: float | None = None
) -> list[Injected]:
    """JSON Lines -> rows; the id is in the source's `idField`, else in `id`. `deadline`: Unix time.

    Raises `BadRows` with a line for each bad one."""
    field = (source.dataset.id_field if source.dataset else None) or "id"
    rows: list[Injected] = []
    faults: list[str] = []
    for number, line in enumerate(body.splitlines(), 1):
        if not line.strip():
            continue
        try:
            columns = json.loads(line)
        except ValueError as error:
            faults.append(f"line {number}: not JSON ({error}); write one object a line")
            continue
        if not isinstance(columns, dict):
            faults.append(f"line {number}: no JSON object; write one object a line")
        elif (name := identity(columns.get(field))) is None:
            faults.append(f"line {number}: no id: {field!r} must be text or a number; add it")
        else:
            rows.append(Injected(name, plain(columns), priority, deadline))
    if faults:
        more = [f"and {len(faults) - MOST_FAULTS:,} more"] if len(faults) > MOST_FAULTS else []
        raise BadRows("\n".join(faults[:MOST_FAULTS] + more))
    if not rows:
        raise BadRows("there is no row in it; write one JSON object a line")
    return rows


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _name(number: int) -> str:
    return f"{_FOLDER}/{number:010}.jsonl"
