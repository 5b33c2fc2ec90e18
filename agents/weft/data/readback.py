"""Reading back which rows are in the table: only the keys, file by file."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import msgspec
import pyarrow.parquet as pq
from deltalake import DeltaTable

from weft.data.chain import Link
from weft.data.parts import partition_in_name
from weft.protocol.committed import CommittedRows
from weft.protocol.view import partition_of

_FILES_AT_ONCE = 8
"""An object store answers in tens of milliseconds, and a long run leaves thousands of files."""
_BATCH = 1 << 16


class ActiveFile(msgspec.Struct, frozen=True):
    """A data file that belongs to the table's newest version."""

    path: str
    status: str
    rows: int | None
    """None where the file's statistics do not say (another program has rewritten it)."""

    def count(self, files: Any) -> int:
        """Its rows; looked up in the file where need be."""
        if self.rows is not None:
            return self.rows
        with files.open_input_file(self.path) as stream:
            return int(pq.ParquetFile(stream).metadata.num_rows)


def active_files(table: DeltaTable) -> list[ActiveFile]:
    """The files of the table's newest version that `table` has seen."""
    actions = table.get_add_actions(flatten=True)
    names = actions.schema.names
    counts = actions["num_records"].to_pylist() if "num_records" in names else None
    paths: list[str] = list(actions["path"].to_pylist())
    statuses: list[str] = list(actions["partition.status"].to_pylist()) if paths else []
    return [
        ActiveFile(path, status, rows)
        for path, status, rows in zip(paths, statuses, counts or [None] * len(paths), strict=True)
    ]


def read_rows(
    table: DeltaTable, files: Any, *, partition: int | None, partitions: int
) -> CommittedRows:
    """The rows of one writer partition (None: of all) in the version that `table` has seen.

    `files`: the table's own file system. Raises the store's errors."""
    found = CommittedRows()
    wanted = [
        file
        for file in active_files(table)
        if partition is None or partition_in_name(file.path) in {partition, None}
    ]
    with ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="weft-readback") as pool:
        # A window, not `map`: it would hold the keys of all files at once.
        for start in range(0, len(wanted), _FILES_AT_ONCE):
            window = wanted[start : start + _FILES_AT_ONCE]
            for file, keys in zip(window, pool.map(lambda f: _keys(files, f), window), strict=True):
                for batch in keys:
                    mine = (
                        batch
                        if partition is None
                        else [row for row in batch if partition_of(row, partitions) == partition]
                    )
                    found.update(zip(mine, repeat(file.status)))
    return found


def last_link(table: DeltaTable, files: Any, *, partition: int, partitions: int) -> Link | None:
    """The link of the partition's last row in the version that `table` has seen; None without rows.

    Of the files that name the partition only those of its newest commit are read, and of the others
    (a compaction's) all. Raises the store's errors."""
    mine: dict[str, list[ActiveFile]] = {}
    others: list[ActiveFile] = []
    for file in active_files(table):
        named = partition_in_name(file.path)
        if named is None:
            others.append(file)
        elif named == partition:
            mine.setdefault(file.path.rpartition("/")[2], []).append(file)
    last: Link | None = None
    for file in [*(mine[max(mine)] if mine else []), *others]:
        with files.open_input_file(file.path) as stream:
            reader = pq.ParquetFile(stream)
            for batch in reader.iter_batches(
                _BATCH, columns=["row", "chain.sequence", "chain.link"], use_threads=False
            ):
                rows, (sequence, link) = batch.column(0), batch.column(1).flatten()
                numbers = sequence.fill_null(0).to_numpy(zero_copy_only=False)
                least = last.sequence if last else 0
                # The highest first: of a few partitions' rows, ours is among the first few.
                for at in numbers.argsort()[::-1]:
                    if numbers[at] <= least:
                        break
                    if partition_of(rows[at].as_py(), partitions) == partition:
                        last = Link(int(numbers[at]), link[at].as_py())
                        break
    return last


def _keys(files: Any, file: ActiveFile) -> list[list[int]]:
    def batches() -> Iterator[list[int]]:
        with files.open_input_file(file.path) as stream:
            reader = pq.ParquetFile(stream)
            for batch in reader.iter_batches(_BATCH, columns=["row"], use_threads=False):
                yield batch.column(0).to_pylist()

    return list(batches())
