"""What is on record of dead rows that were put back: a file beside the table for each time.

`_weft/retried/*.jsonl`, written before the rows leave the table. Where the transaction did not
come about, the rows are still in the table, and the file says nothing: it only ever speaks of rows
that are not committed. (Delta's readers and its vacuum pass by folders that begin with `_`.)
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from typing import Any

import msgspec
import pyarrow.fs as arrow_fs

from weft.protocol.committed import CommittedRows
from weft.protocol.view import partition_of
from weft.segment import decode_segment, encode_segment

FOLDER = "_weft/retried"
NOTE = "retried"
"""In the notes of the first segment of a row that was put back: its earlier ends."""


class Earlier(msgspec.Struct, frozen=True, omit_defaults=True):
    """An end that a row had, and has no more."""

    row: int
    id: str
    reason: str
    committed: str
    """When it had come to that end (ISO 8601, UTC)."""
    retried: str
    """When it was put back."""
    attempts: int = 1
    sequence: int = 0
    """Its place in the chain (`chain.py`), which is whole with it."""
    digest: str = ""
    link: str = ""


def keep(files: Any, ends: Iterable[Earlier]) -> None:
    """Put the ends on record. `files`: the table's own file system. Raises the store's errors."""
    name = f"{FOLDER}/{uuid.uuid4().hex}.jsonl"
    # With a buffer, and in small pieces: Delta's files refuse what Arrow hands on as it is.
    with files.open_output_stream(name, buffer_size=1 << 16) as stream:
        for end in ends:
            stream.write(msgspec.json.encode(end) + b"\n")


def read(
    files: Any, *, partition: int, partitions: int, committed: CommittedRows
) -> dict[int, list[Earlier]]:
    """The earlier ends of the partition's rows that are not committed, oldest first. Raises the
    store's errors."""
    found: dict[int, list[Earlier]] = {}
    for file in files.get_file_info(arrow_fs.FileSelector(FOLDER, allow_not_found=True)):
        if not file.path.endswith(".jsonl"):
            continue
        with files.open_input_stream(file.path) as stream:
            for line in stream.read().splitlines():
                end = msgspec.json.decode(line, type=Earlier)
                mine = partition_of(end.row, partitions) == partition
                if mine and end.row not in committed:
                    found.setdefault(end.row, []).append(end)
    return {row: _one_each(ends) for row, ends in found.items()}


def all_of(files: Any) -> list[Earlier]:
    """Everything on record. Raises the store's errors."""
    found: list[Earlier] = []
    for file in files.get_file_info(arrow_fs.FileSelector(FOLDER, allow_not_found=True)):
        if file.path.endswith(".jsonl"):
            with files.open_input_stream(file.path) as stream:
                lines = stream.read().splitlines()
            found += [msgspec.json.decode(line, type=Earlier) for line in lines]
    return found


def noted(segments: list[bytes], ends: Collection[Earlier]) -> list[bytes]:
    """The segments, the first with the row's earlier ends in its notes."""
    if not segments:
        return segments
    first = decode_segment(segments[0])
    told = [msgspec.to_builtins(end) for end in ends]
    for end in told:
        for place in ("row", "id", "sequence", "digest", "link"):
            end.pop(place, None)
    first.notes = {**first.notes, NOTE: told}
    return [encode_segment(first), *segments[1:]]


def _one_each(ends: list[Earlier]) -> list[Earlier]:
    """One for each time that the row ended: a retry that died before its transaction, and was
    done again, has left two."""
    newest = {end.committed: end for end in ends}
    return sorted(newest.values(), key=lambda end: end.committed)
