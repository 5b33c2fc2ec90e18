"""Parquet files, read a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from weft.data.errors import SourceError
from weft.data.files import DataFile
from weft.data.reader import Glance, Record
from weft.data.storage import one_line
from weft.data.values import plain

SUFFIXES: tuple[str, ...] = (".parquet",)
_BATCH = 256


def glance(file: DataFile) -> Glance:
    with _opened(file) as reader:
        return Glance(frozenset(reader.schema_arrow.names), True, reader.metadata.num_rows)


def count(file: DataFile) -> int:
    with _opened(file) as reader:
        return int(reader.metadata.num_rows)


def read(file: DataFile, *, skip: int = 0) -> Iterator[Record]:
    """Row groups before `skip` are not read. A row's place is its number in the file, from 1."""
    with _opened(file) as reader:
        groups: list[int] = []
        before = 0
        for number in range(reader.num_row_groups):
            size = reader.metadata.row_group(number).num_rows
            if groups or before + size > skip:
                groups.append(number)
            else:
                before += size
        at = before
        for batch in reader.iter_batches(_BATCH, row_groups=groups, use_threads=False):
            yield from records(file, batch, at, skip)
            at += batch.num_rows


def records(file: DataFile, batch: pa.RecordBatch, at: int, skip: int) -> Iterator[Record]:
    """The batch's rows; its first is number `at` of the file, those before `skip` are left out."""
    if at + batch.num_rows <= skip:
        return
    first = max(skip - at, 0)
    rows = batch.slice(first).to_pylist(maps_as_pydicts="lossy")
    for number, row in enumerate(rows, start=at + first + 1):
        yield Record(file.location(number), plain(row))


@contextmanager
def _opened(file: DataFile) -> Iterator[pq.ParquetFile]:
    with file.open() as stream:
        try:
            yield pq.ParquetFile(stream, pre_buffer=False)
        except pa.ArrowException as error:
            raise SourceError(f"{file.name}: not Parquet, or damaged: {one_line(error)}") from error
