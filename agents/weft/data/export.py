"""From the output table to a dataset: JSON Lines, Parquet, a folder for Hugging Face, or pairs.

Two passes, both streamed: the first counts what the rows say of themselves (types, provenance), the
second writes. The destination appears when it is whole; a failure leaves none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from typing import IO, Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.fs as arrow_fs
import pyarrow.parquet as pq
from deltalake.fs import DeltaStorageHandler

from weft.data import preference, shapes, survey
from weft.data.card import CardFacts, card
from weft.data.columns import STATUSES
from weft.data.destination import Target
from weft.data.destination import destination as place
from weft.data.errors import ExportError, OutputError
from weft.data.layout import Properties, open_existing
from weft.data.readback import ActiveFile, active_files
from weft.data.storage import (
    absolute,
    delta_options,
    one_line,
    shown,
)
from weft.data.survey import Survey

ExportFormat = Literal["jsonl", "parquet", "huggingface", "preference"]
SHARD_BYTES = 256 << 20
"""Of Arrow data in one file of a Hugging Face folder."""
_BATCH = 256
_ROW_GROUP_BYTES = 32 << 20

Progress = Callable[[int, int], None]
"""Called with (rows written, rows in all) now and then."""


class Exported(msgspec.Struct, frozen=True):
    """What an export has left."""

    rows: int
    """Or pairs."""
    bytes: int
    files: list[str]
    survey: Survey
    version: int
    """Of the table: rows that were committed later are not in it."""


def export(
    uri: str,
    destination: str,
    format: ExportFormat,
    *,
    storage_options: Mapping[str, str] | None = None,
    status: str = "accepted",
    overwrite: bool = False,
    objects: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write the table's rows of one status to `destination`: a file, for `huggingface` a folder.

    `preference` writes the pairs of chosen and rejected answers instead (`preference.py`), to a
    file of JSON Lines, or of Parquet where its name says so. `objects`: calls' arguments as objects
    and not as text, for JSON Lines only (columns of Arrow have one type).

    Both addresses are local paths or fsspec URIs. Rows stand in the order in which they were
    committed. Raises `ExportError`, `OutputError` (one line each)."""
    if status not in STATUSES:
        raise ExportError(f"status {status!r}: must be one of {', '.join(STATUSES)}")
    options = dict(storage_options or {})
    with _Table(absolute(uri), options, status) as table:
        found = Survey()
        for batch in table.batches(survey.COLUMNS):
            survey.take_in(found, batch)
        columns = shapes.columns_of(found)
        pairs = 0
        if objects and (format in ("parquet", "huggingface") or destination.endswith(".parquet")):
            raise ExportError(
                "arguments as objects have no one type for a Parquet file; export as jsonl"
            )
        writers: dict[str, Callable[..., list[str]]] = {
            "jsonl": partial(_jsonl, objects=objects),
            "parquet": _parquet,
            "huggingface": _huggingface,
        }
        write = writers.get(format)
        if write is None and format != "preference":
            raise ExportError(
                f"format {format!r}: must be jsonl, parquet, huggingface or preference"
            )
        try:
            with place(destination, options, overwrite=overwrite) as target:
                batches = _reported(table.batches(shapes.COLUMNS), found.rows, progress)
                with_reason = status != "accepted"
                target.mark = table.mark(status)
                if write is None:
                    batches = _reported(table.batches(preference.COLUMNS), found.rows, progress)
                    as_parquet = destination.endswith(".parquet")
                    pairs = _preference(target, batches, parquet=as_parquet, objects=objects)
                    files = [""]
                else:
                    files = write(target, batches, columns, with_reason)
                if format == "huggingface":
                    facts = CardFacts(
                        pipeline=table.pipeline,
                        status=status,
                        counts=table.counts(),
                        survey=found,
                        columns=columns,
                        data_files=f"data/train-*-{target.mark}.parquet",
                        table_version=table.version,
                        weft_version=version("weft"),
                    )
                    files.append(target.write("/README.md", card(facts).encode()))
        except (ExportError, OutputError):
            raise
        except OSError as error:
            raise ExportError(
                f"{shown(destination)}: cannot be written: {one_line(error, options)}"
            ) from error
    written = [target.place + name for name in files]
    rows = pairs if format == "preference" else found.rows
    return Exported(rows, target.bytes, written, found, table.version)


class _Table:
    """The table at one version."""

    def __init__(self, uri: str, options: dict[str, str], status: str) -> None:
        self._table = open_existing(uri, options)
        self.pipeline = Properties.of(self._table, uri).pipeline
        self.version = self._table.version()
        self._uri = uri
        self._options = options
        self._active = sorted(active_files(self._table), key=lambda file: file.path)
        self._wanted = [file for file in self._active if file.status == status]
        self._files: Any = None

    def __enter__(self) -> _Table:
        handler = DeltaStorageHandler(self._uri, delta_options(self._uri, self._options))
        self._files = arrow_fs.PyFileSystem(handler)
        return self

    def __exit__(self, *_: object) -> None:
        self._files = None

    def mark(self, status: str) -> str:
        """Names the content. *Hazard:* `datasets.load_dataset` caches a folder by its last name
        and the patterns in its card, not by its files: without a mark in the pattern it would give
        an earlier export that had the same folder name."""
        content = f"{self._table.metadata().id} {self.version} {status}"
        return hashlib.sha256(content.encode()).hexdigest()[:8]

    def counts(self) -> dict[str, int]:
        counts = dict.fromkeys(STATUSES, 0)
        for file in self._active:
            counts[file.status] += file.count(self._files)
        return counts

    def batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for file in self._wanted:
            yield from self._of_file(file, columns)

    def _of_file(self, file: ActiveFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
        try:
            with self._files.open_input_file(file.path) as stream:
                reader = pq.ParquetFile(stream)
                yield from reader.iter_batches(_BATCH, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise OutputError(
                f"{shown(self._uri)}: {file.path} cannot be read: {one_line(error, self._options)}"
            ) from error


def _reported(
    batches: Iterator[pa.RecordBatch], total: int, progress: Progress | None
) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in batches:
        yield batch
        done += batch.num_rows
        if progress is not None:
            progress(done, total)


# the formats


def _jsonl(
    target: Target,
    batches: Iterator[pa.RecordBatch],
    columns: list[shapes.Column],
    with_reason: bool,
    *,
    objects: bool,
) -> list[str]:
    with target.open("") as stream:
        for batch in batches:
            for row in batch.to_pylist():
                line = shapes.to_json(row, columns, with_reason=with_reason, objects=objects)
                stream.write(line + b"\n")
    return [""]


def _parquet(
    target: Target,
    batches: Iterator[pa.RecordBatch],
    columns: list[shapes.Column],
    with_reason: bool,
) -> list[str]:
    schema = shapes.arrow_schema(columns, with_reason=with_reason)
    with target.open("") as stream:
        _write_file(stream, (shapes.to_arrow(batch, columns, schema) for batch in batches), schema)
    return [""]


def _huggingface(
    target: Target,
    batches: Iterator[pa.RecordBatch],
    columns: list[shapes.Column],
    with_reason: bool,
) -> list[str]:
    schema = shapes.arrow_schema(columns, with_reason=with_reason)
    typed = (shapes.to_arrow(batch, columns, schema) for batch in batches)
    files: list[str] = []
    first = next(typed, None)
    while first is not None or not files:
        name = f"/data/train-{len(files):05}-{target.mark}.parquet"
        with target.open(name) as stream:
            first = _write_file(stream, typed, schema, first=first, limit=SHARD_BYTES)
        files.append(name)
    return files


def _preference(
    target: Target, batches: Iterator[pa.RecordBatch], *, parquet: bool, objects: bool
) -> int:
    """Write the pairs; gives how many there are."""
    count = 0

    def found() -> Iterator[list[dict[str, Any]]]:
        nonlocal count
        for batch in batches:
            pairs = [
                pair
                for row in batch.to_pylist()
                for pair in preference.pairs_of(row, objects=objects)
            ]
            count += len(pairs)
            yield pairs

    with target.open("") as stream:
        if parquet:
            typed = (preference.to_arrow(pairs) for pairs in found())
            _write_file(stream, typed, preference.SCHEMA)
        else:
            for pairs in found():
                stream.writelines(preference.to_json(pair) + b"\n" for pair in pairs)
    return count


def _write_file(
    stream: IO[bytes],
    batches: Iterator[pa.RecordBatch],
    schema: pa.Schema,
    *,
    first: pa.RecordBatch | None = None,
    limit: int | None = None,
) -> pa.RecordBatch | None:
    """Write until the batches end or `limit` bytes; returns the batch that did not fit any more."""
    group: list[pa.RecordBatch] = [] if first is None else [first]
    group_bytes = size = 0 if first is None else first.nbytes
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for batch in batches:
            if limit is not None and size >= limit:
                if group:
                    writer.write_table(pa.Table.from_batches(group, schema))
                return batch
            group.append(batch)
            group_bytes += batch.nbytes
            size += batch.nbytes
            if group_bytes >= _ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(group, schema))
                group, group_bytes = [], 0
        if group:
            writer.write_table(pa.Table.from_batches(group, schema))
    return None
