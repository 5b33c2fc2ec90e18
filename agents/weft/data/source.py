"""Where rows come from: one stream of `SourceRow`, whatever the kind of source.

A source is read in a fixed order, so that a row's `ordinal` names it for ever: a run that goes on
after a crash finds what is done by ordinal. Nothing is loaded whole; a row that cannot be used is
handed on with its `error` and never stops the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from weft.data import csv, files, generate, huggingface, jsonl, parquet, text
from weft.data.errors import SourceError
from weft.data.files import DataFile
from weft.data.reader import Format, Record
from weft.data.seen import SeenIds
from weft.data.storage import shown
from weft.data.values import identity
from weft_api.plan import Source
from weft_api.source import Dataset

FORMATS: dict[str, Format] = {"jsonl": jsonl, "parquet": parquet, "csv": csv, "text": text}
_GLANCED_FILES = 16
_IDS_AT_ONCE = 256


class SourceRow(msgspec.Struct):
    """One row as it was read. `columns` holds only what msgpack can carry."""

    ordinal: int
    """Counts from 0 over the whole source, unusable rows included."""
    id: str
    columns: dict[str, Any]
    error: str = ""
    """Why the row cannot be used (`tickets.jsonl:17: not JSON (…)`); it becomes a dead letter."""


class SourceInfo(msgspec.Struct, frozen=True):
    """What can be told about a source without reading it all."""

    columns: frozenset[str] | None
    """None where not all of them can be known cheaply."""
    rows: int | None
    """None where only reading all tells."""
    fingerprint: str
    """Changes when the content does; the same after a copy to another place."""


def inspect(source: Source, storage_options: Mapping[str, str]) -> SourceInfo:
    """Look at the source without reading all of it (at most 64 MiB of each of 16 files).

    Raises `SourceError` (one line) where the run could not start: nothing there, no access, an
    unknown format, no rows, the id field missing.
    """
    if source.generate is not None:
        rows = source.generate.rows
        return SourceInfo(generate.COLUMNS, rows, f"generate-{rows}")
    dataset = _dataset(source)
    format, found = _resolve(dataset, storage_options)
    glances = [format.glance(file) for file in found[:_GLANCED_FILES]]
    if len(found) <= _GLANCED_FILES and all(glance.rows == 0 for glance in glances):
        raise SourceError(f"{shown(dataset.uri)}: holds no rows")
    whole = len(found) <= _GLANCED_FILES and all(glance.whole for glance in glances)
    columns = frozenset[str]().union(*(glance.columns for glance in glances))
    counts = [glance.rows for glance in glances if glance.rows is not None]
    rows_known = len(counts) == len(found)
    if dataset.id_field and columns and dataset.id_field not in columns:
        raise SourceError(
            f"{shown(dataset.uri)}: no column {dataset.id_field!r} (idField); there are "
            f"{', '.join(sorted(columns)[:12])}"
        )
    if not rows_known and next(_records(format, found, 0), None) is None:
        raise SourceError(f"{shown(dataset.uri)}: holds no rows")
    return SourceInfo(
        columns if whole else None,
        sum(counts) if rows_known else None,
        files.fingerprint(found, dataset.format or "", dataset.id_field or ""),
    )


def read(
    source: Source, storage_options: Mapping[str, str], *, start: int = 0
) -> Iterator[SourceRow]:
    """Rows in their fixed order from ordinal `start` on, streamed.

    With an id field all rows before `start` are read too, because a later row with an earlier
    one's id is an error. Raises `SourceError` where the source fails as a whole (it vanished, a
    damaged archive)."""
    if source.generate is not None:
        for index, columns in enumerate(generate.read(source.generate.rows, start=start), start):
            yield SourceRow(index, str(index), columns)
        return
    dataset = _dataset(source)
    format, found = _resolve(dataset, storage_options)
    if dataset.id_field:
        yield from (row for row in _by_id(dataset.id_field, format, found) if row.ordinal >= start)
        return
    for ordinal, record in enumerate(_records(format, found, start), start):
        yield SourceRow(ordinal, str(ordinal), record.columns, record.error)


def ids_of(source: Source, storage_options: Mapping[str, str]) -> SeenIds:
    """The ids of all rows of a source with an `idField`; reads it to its end. Raises
    `SourceError`."""
    seen = SeenIds()
    rows = read(source, storage_options)
    while chunk := list(islice(rows, _IDS_AT_ONCE)):
        usable = [row for row in chunk if not row.error]
        seen.first([row.id for row in usable], [row.ordinal for row in usable])
    return seen


def _dataset(source: Source) -> Dataset:
    if source.dataset is None:
        raise SourceError("source: neither dataset nor generate is set")
    return source.dataset


def _resolve(dataset: Dataset, storage_options: Mapping[str, str]) -> tuple[Format, list[DataFile]]:
    if dataset.format == "huggingface":
        return huggingface.resolve(dataset.uri, storage_options)
    if dataset.format not in FORMATS:
        known = ", ".join([*FORMATS, "huggingface"])
        raise SourceError(f"{shown(dataset.uri)}: unknown format {dataset.format!r}; use {known}")
    format = FORMATS[dataset.format]
    return format, files.find(dataset.uri, storage_options, suffixes=format.SUFFIXES)


def _records(format: Format, found: list[DataFile], skip: int) -> Iterator[Record]:
    """The records of all files without the first `skip`."""
    for file in found:
        if skip and file is not found[-1]:
            rows = format.count(file)
            if rows <= skip:
                skip -= rows
                continue
        yield from format.read(file, skip=skip)
        skip = 0


def _by_id(id_field: str, format: Format, found: list[DataFile]) -> Iterator[SourceRow]:
    seen = SeenIds()
    numbered = enumerate(_records(format, found, 0))
    while chunk := list(islice(numbered, _IDS_AT_ONCE)):
        rows = [_named(ordinal, record, id_field) for ordinal, record in chunk]
        usable = [
            (row, record) for row, (_, record) in zip(rows, chunk, strict=True) if not row.error
        ]
        firsts = seen.first([row.id for row, _ in usable], [row.ordinal for row, _ in usable])
        for (row, record), first in zip(usable, firsts, strict=True):
            if first is not None:
                row.error = (
                    f"{record.where}: {id_field} {row.id!r} is there already, in row {first} "
                    "(counted from 0)"
                )
        yield from rows


def _named(ordinal: int, record: Record, id_field: str) -> SourceRow:
    row = SourceRow(ordinal, str(ordinal), record.columns, record.error)
    if not row.error:
        name = identity(record.columns.get(id_field))
        if name is None:
            row.error = f"{record.where}: no id: the field {id_field!r} must be text or a number"
        else:
            row.id = name
    return row
