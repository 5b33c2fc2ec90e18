"""CSV with a header, UTF-8, commas (tabs in `.tsv`). All values are text, as they stand there.

Types are not guessed: a guess from the first rows fails at a later one, and `007` is no number.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import IO, Protocol, cast

from weft.data.errors import SourceError
from weft.data.files import DataFile
from weft.data.reader import Glance, Record

SUFFIXES: tuple[str, ...] = (".csv", ".tsv")
LONGEST_FIELD = 64 << 20
_BUFFER = 1 << 20


class Rows(Protocol):
    """What `csv.reader` gives."""

    line_num: int

    def __next__(self) -> list[str]: ...


def glance(file: DataFile) -> Glance:
    with file.open() as raw:
        _, header = _open(file, raw)
    return Glance(frozenset(header), whole=True, rows=None)


def count(file: DataFile) -> int:
    return sum(1 for _ in read(file))


def read(file: DataFile, *, skip: int = 0) -> Iterator[Record]:
    with file.open() as raw:
        rows, header = _open(file, raw)
        number = -1
        while True:
            line = rows.line_num + 1
            try:
                values, problem = next(rows), ""
            except StopIteration:
                return
            except csv.Error as error:
                values, problem = [], str(error)
            if not values and not problem:
                continue
            number += 1
            if number >= skip:
                yield _record(file.location(line), header, values, problem)


def _record(where: str, header: list[str], values: list[str], problem: str) -> Record:
    if not problem and len(values) != len(header):
        problem = f"{len(values)} values, but the header names {len(header)} columns"
    if not problem and not all(map(_is_utf8, values)):
        problem = "not UTF-8"
    columns = dict(zip(header, values, strict=False))
    if problem:
        shown = {name: _repaired(value) for name, value in columns.items()}
        return Record(where, shown, f"{where}: {problem}")
    return Record(where, columns)


def _open(file: DataFile, raw: IO[bytes]) -> tuple[Rows, list[str]]:
    # The module's own limit of 128 kB is for the whole process, and too short for documents.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
    buffered = io.BufferedReader(cast(io.RawIOBase, raw), _BUFFER)
    text = io.TextIOWrapper(buffered, "utf-8-sig", errors="surrogateescape", newline="")
    rows: Rows = csv.reader(text, delimiter="\t" if file.path.endswith(".tsv") else ",")
    try:
        header = next(rows)
    except StopIteration:
        header = []
    except csv.Error as error:
        raise SourceError(f"{file.name}:1: not CSV ({error})") from None
    if not any(header):
        raise SourceError(f"{file.name}: has no header in its first line")
    if len(header) == 1 and any(sign in header[0] for sign in ";\t"):
        raise SourceError(f"{file.name}:1: one column only; its separator must be a comma")
    if not all(header) or not all(map(_is_utf8, header)):
        raise SourceError(f"{file.name}:1: a column has no name, or one that is not UTF-8")
    if twice := [name for name in header if header.count(name) > 1]:
        raise SourceError(f"{file.name}:1: the column {twice[0]!r} is there twice")
    return rows, header


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any("\udc80" <= sign <= "\udcff" for sign in text)


def _repaired(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
