"""Rows that are committed as accepted, for agents that learn from them while the run goes on.

Reading is bounded: a refresh looks at a few files of the newest version, at most every
`REFRESH` seconds, in a thread, and keeps `RESERVOIR` rows. What is in the table depends on what
has come so far, so two runs of one seed may draw other rows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.fs as arrow_fs
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from deltalake.fs import DeltaStorageHandler

from weft.data.readback import active_files
from weft.data.storage import absolute, delta_options
from weft.row import ChatMessage, Row, ToolCall

REFRESH = 30.0
"""Seconds that a reservoir is used before it is filled anew."""
RESERVOIR = 256
FILES = 16
"""Data files that a refresh reads at most."""
MOST_CHARACTERS = 20_000
"""Of a row's dialogue; a longer one is no example for a prompt."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class AcceptedRows:
    """What an output holds by now. One per agent process; nothing is read until it is asked."""

    def __init__(self, uri: str, options: Mapping[str, str]) -> None:
        self.uri = absolute(uri)
        self._options = dict(options)
        self._kept: list[dict[str, Any]] = []
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def sample(self, count: int, chance: Random) -> list[dict[str, Any]]:
        """Up to `count` rows (`{"id", "messages": [{"role", "content"}]}`), fewer while there are
        fewer. A store that fails gives what was read before."""
        if time.monotonic() - self._read_at > REFRESH:
            async with self._reading:
                if time.monotonic() - self._read_at > REFRESH:
                    found = await asyncio.to_thread(self._reservoir)
                    self._kept = found or self._kept
                    self._read_at = time.monotonic()
        return chance.sample(self._kept, min(count, len(self._kept)))

    def _reservoir(self) -> list[dict[str, Any]]:
        """A uniform sample of the rows in some files, drawn anew at each refresh."""
        chance = Random()
        kept: list[dict[str, Any]] = []
        seen = 0
        for batch in self._batches(["id", "messages"], most_files=FILES, chance=chance):
            for row in batch.to_pylist():
                example = _example(row)
                if example is None:
                    continue
                seen += 1
                if len(kept) < RESERVOIR:
                    kept.append(example)
                elif (at := chance.randrange(seen)) < RESERVOIR:
                    kept[at] = example
        return kept

    def all(self) -> Iterator[Row]:
        """Every accepted row, streamed. Blocks; raises the store's errors (a table that is not
        there yet has no rows)."""
        for batch in self._batches(["id", "messages", "source", "data"]):
            for row in batch.to_pylist():
                messages = [
                    ChatMessage(
                        one["role"],
                        one["content"] or "",
                        [ToolCall(c["id"], **c["function"]) for c in one["tool_calls"] or []],
                    )
                    for one in row["messages"] or []
                ]
                yield Row(row["id"], _decode(row["source"]), _decode(row["data"]), messages)

    def _batches(
        self, columns: list[str], *, most_files: int | None = None, chance: Random | None = None
    ) -> Iterator[pa.RecordBatch]:
        options = delta_options(self.uri, self._options)
        try:
            table = DeltaTable(self.uri, storage_options=options)
        except TableNotFoundError:
            return
        wanted = [file.path for file in active_files(table) if file.status == "accepted"]
        if most_files is not None and chance is not None and len(wanted) > most_files:
            wanted = chance.sample(wanted, most_files)
        files = arrow_fs.PyFileSystem(DeltaStorageHandler(self.uri, options))
        for path in wanted:
            with files.open_input_file(path) as stream:
                reader = pq.ParquetFile(stream)
                yield from reader.iter_batches(256, columns=columns, use_threads=False)


def _example(row: dict[str, Any]) -> dict[str, Any] | None:
    messages = [
        {"role": one["role"], "content": one["content"]}
        for one in row["messages"] or []
        if one["role"] in ("user", "assistant") and one["content"]
    ]
    if not messages or sum(len(one["content"]) for one in messages) > MOST_CHARACTERS:
        return None
    return {"id": row["id"], "messages": messages}
