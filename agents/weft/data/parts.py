"""The data files of one commit: Parquet, one file per status, written before the commit names them.

A file that no commit names does not exist for readers, so writing one may fail and be done again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from weft.data import columns
from weft.data.chain import Link
from weft.protocol.writer import Finished

COMPRESSION = {"compression": "zstd", "compression_level": 1}
"""Level 1 halves what Snappy leaves of a dialogue of 8.8 kB (3.4 against 7.8 kB) for 20 µs of CPU
more a row; level 3 saves another fifth for 20 µs more (`agents/tests/data/bench_table.py`)."""


ROW_GROUP_BYTES = 8 << 20
"""Of Arrow data. Larger ones are better for readers, and cost the writer memory."""


class Part(msgspec.Struct):
    """One data file that lies in the store."""

    path: str
    """Relative to the table."""
    status: str
    rows: int
    bytes: int
    low: int
    """Smallest row key in it."""
    high: int

    def action(self) -> AddAction:
        statistics = {
            "numRecords": self.rows,
            "minValues": {"row": self.low},
            "maxValues": {"row": self.high},
            "nullCount": {"row": 0},
        }
        return AddAction(
            self.path,
            self.bytes,
            {"status": self.status},
            int(time.time() * 1000),
            True,
            json.dumps(statistics),
        )


def partition_in_name(path: str) -> int | None:
    """The writer partition whose rows the file holds; None where its name does not say."""
    name = path.rpartition("/")[2]
    number = name.partition("-")[0].removeprefix("p")
    return int(number) if name.startswith("p") and number.isdecimal() else None


def write_parts(
    files: Any, rows: Sequence[Finished], *, partition: int, number: int, before: Link
) -> tuple[list[Part], Link]:
    """Write the rows into one file per status that they have. `files`: the table's own file system.

    At most one row group of each status is in memory as Arrow. A row that cannot be converted
    becomes a dead letter (its `status` changes in place). `before`: the link of the partition's
    last row; returned with the parts is that of the last one written."""
    committed = columns.now()
    open_files: dict[str, _PartFile] = {}
    try:
        for chunk in columns.chunks(rows):
            converted, before = _convert(chunk, committed, before)
            for status in columns.STATUSES:
                chosen = [at for at, row in enumerate(chunk) if row.status == status]
                if not chosen:
                    continue
                if status not in open_files:
                    path = f"status={status}/p{partition}-{number:016x}.parquet"
                    open_files[status] = _PartFile(files, path, status)
                whole = len(chosen) == len(chunk)
                open_files[status].write(converted if whole else converted.take(pa.array(chosen)))
        return [part_file.finish() for part_file in open_files.values()], before
    finally:
        for part_file in open_files.values():
            part_file.abandon()


def _convert(rows: list[Finished], committed: Any, before: Link) -> tuple[pa.RecordBatch, Link]:
    try:
        return columns.to_batch(rows, committed, before)
    except Exception:
        columns.salvage(rows, committed)
        return columns.to_batch(rows, committed, before)


class _PartFile:
    def __init__(self, files: Any, path: str, status: str) -> None:
        self._stream = files.open_output_stream(path)
        self._writer: pq.ParquetWriter | None = pq.ParquetWriter(
            self._stream,
            columns.FILE_SCHEMA,
            use_dictionary=False,
            write_statistics=["row"],
            **COMPRESSION,
        )
        self._part = Part(path, status, rows=0, bytes=0, low=1 << 62, high=-1)
        self._group: list[pa.RecordBatch] = []
        self._group_bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._group.append(batch)
        self._group_bytes += batch.nbytes
        keys = batch.column("row").to_numpy()
        self._part.rows += len(keys)
        self._part.low = min(self._part.low, int(keys.min()))
        self._part.high = max(self._part.high, int(keys.max()))
        if self._group_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        assert self._writer is not None
        self._writer.write_table(pa.Table.from_batches(self._group))
        self._group, self._group_bytes = [], 0

    def finish(self) -> Part:
        assert self._writer is not None
        if self._group:
            self._flush()
        self._writer.close()
        self._writer = None
        self._part.bytes = self._stream.tell()
        self._stream.close()
        return self._part

    def abandon(self) -> None:
        """After a failure: let go, so that no handle outlives the attempt."""
        if self._writer is not None:
            self._writer = None
            with contextlib.suppress(Exception):
                self._stream.close()
