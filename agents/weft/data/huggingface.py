"""Folders of Hugging Face `datasets`: what `save_to_disk` leaves, and what the hub holds.

`save_to_disk` leaves Arrow streams that `state.json` lists; a hub repository holds Parquet, JSON
Lines or CSV files whose names tell the split. A source is one split: with several, the address has
to name one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from weft.data import csv, jsonl, parquet
from weft.data.errors import SourceError
from weft.data.files import DataFile, find
from weft.data.reader import Format, Glance, Record
from weft.data.storage import StorageError, filesystem, one_line, shown

SUFFIXES: tuple[str, ...] = (".arrow",)
_SPLIT = re.compile(r"(?<![a-z])(train|test|validation|valid|val|dev|eval)(?![a-z])", re.IGNORECASE)
_SAME = {"valid": "validation", "val": "validation", "dev": "validation", "eval": "test"}


def resolve(uri: str, storage_options: Mapping[str, str]) -> tuple[Format, list[DataFile]]:
    """The files of the dataset and their format. Raises `SourceError`."""
    try:
        fs, path = filesystem(uri, storage_options)
        if not fs.exists(path) and "*" not in path:
            raise SourceError(f"{shown(uri)}: no such folder")
        if splits := _json(fs, f"{path}/dataset_dict.json"):
            names = list(splits.get("splits", []))
            if len(names) != 1:
                raise SourceError(
                    f"{shown(uri)}: has the splits {', '.join(names)}; name one: "
                    f"{shown(uri).rstrip('/')}/{names[0] if names else '…'}"
                )
            uri, path = f"{uri.rstrip('/')}/{names[0]}", f"{path}/{names[0]}"
        state = _json(fs, f"{path}/state.json")
    except StorageError as error:
        raise SourceError(str(error)) from None
    except OSError as error:
        problem = one_line(error, storage_options)
        raise SourceError(f"{shown(uri)}: cannot be reached: {problem}") from error
    if state is not None:
        return _saved(uri, state, storage_options)
    return _hub(uri, storage_options)


def _saved(
    uri: str, state: dict[str, Any], storage_options: Mapping[str, str]
) -> tuple[Format, list[DataFile]]:
    if state.get("_indices_data_files"):
        raise SourceError(
            f"{shown(uri)}: rows are chosen by an index; call flatten_indices() and save it again"
        )
    files = {file.name: file for file in find(uri, storage_options, suffixes=SUFFIXES)}
    names = [entry["filename"] for entry in state.get("_data_files") or []]
    if missing := [name for name in names if name not in files]:
        raise SourceError(f"{shown(uri)}: state.json names {missing[0]}, which is not there")
    return _ArrowStreams(), [files[name] for name in names]


def _hub(uri: str, storage_options: Mapping[str, str]) -> tuple[Format, list[DataFile]]:
    formats: tuple[Format, ...] = (parquet, jsonl, csv)
    suffixes = tuple(suffix for kind in formats for suffix in kind.SUFFIXES)
    files = find(uri, storage_options, suffixes=suffixes)
    kinds = {kind.SUFFIXES: kind for file in files for kind in [_kind(file, formats)]}
    if len(kinds) > 1:
        raise SourceError(f"{shown(uri)}: holds files of several formats; name those that you mean")
    splits = sorted({_split(file) for file in files})
    if len(splits) > 1:
        raise SourceError(
            f"{shown(uri)}: has the splits {', '.join(splits)}; name the files of one, as in "
            f"{shown(uri).rstrip('/')}/**/{splits[-1]}*"
        )
    return next(iter(kinds.values())), files


def _kind(file: DataFile, formats: tuple[Format, ...]) -> Format:
    return next(kind for kind in formats if file.path.endswith(kind.SUFFIXES))


def _split(file: DataFile) -> str:
    """The split that the name tells, by the words that `datasets` looks for; `train` without."""
    found = _SPLIT.search(file.name)
    word = found.group(1).lower() if found else "train"
    return _SAME.get(word, word)


def _json(fs: Any, path: str) -> dict[str, Any] | None:
    try:
        content = json.loads(fs.cat_file(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise SourceError(f"{path.rpartition('/')[2]}: not JSON ({error})") from None
    return content if isinstance(content, dict) else None


class _ArrowStreams:
    SUFFIXES = SUFFIXES

    def glance(self, file: DataFile) -> Glance:
        with file.open() as stream, _reader(file, stream) as reader:
            return Glance(frozenset(reader.schema.names), whole=True, rows=None)

    def count(self, file: DataFile) -> int:
        with file.open() as stream, _reader(file, stream) as reader:
            return sum(batch.num_rows for batch in reader)

    def read(self, file: DataFile, *, skip: int = 0) -> Iterator[Record]:
        with file.open() as stream, _reader(file, stream) as reader:
            at = 0
            try:
                for batch in reader:
                    yield from parquet.records(file, batch, at, skip)
                    at += batch.num_rows
            except pa.ArrowException as error:
                raise SourceError(f"{file.name}: is damaged: {one_line(error)}") from error


def _reader(file: DataFile, stream: Any) -> pa.RecordBatchStreamReader:
    try:
        return pa.ipc.open_stream(stream)
    except pa.ArrowException as error:
        raise SourceError(f"{file.name}: not an Arrow stream: {one_line(error)}") from error
