"""JSON Lines, plain or compressed (`.gz`, `.zst`): one JSON object a line."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any, cast

import msgspec
import pyarrow as pa

from weft.data.errors import SourceError
from weft.data.files import DataFile
from weft.data.reader import Glance, Record
from weft.data.storage import one_line
from weft.data.values import plain

SUFFIXES: tuple[str, ...] = tuple(
    suffix + packed for suffix in (".jsonl", ".ndjson") for packed in ("", ".gz", ".zst")
)
LONGEST_LINE = 64 << 20
"""Bytes of a line beyond which it is no row but a mistake, and is not read into memory."""
_GLANCE_BYTES = 64 << 20
_KEPT = 4096
_BUFFER = 1 << 20
_HUGE_NUMBER = re.compile(rb"[0-9]{19}")
_decode = msgspec.json.Decoder().decode


def glance(file: DataFile) -> Glance:
    """Reads up to 64 MiB of lines: columns and rows are known of files that are shorter."""
    columns: set[str] = set()
    rows = size = 0
    for line_number, line in _lines(file):
        if line_number == 1 and line.lstrip().startswith(b"[") and not _is_object(line):
            raise SourceError(
                f"{file.name}: holds a JSON array; Weft reads one JSON object a line "
                f"(jq -c '.[]' converts it)"
            )
        record = _record(file, line_number, line)
        columns.update(record.columns if not record.error else ())
        rows += 1
        size += len(line)
        if size > _GLANCE_BYTES:
            return Glance(frozenset(columns), whole=False, rows=None)
    return Glance(frozenset(columns), whole=True, rows=rows)


def count(file: DataFile) -> int:
    return sum(1 for _ in _lines(file))


def read(file: DataFile, *, skip: int = 0) -> Iterator[Record]:
    for line_number, line in islice(_lines(file), skip, None):
        yield _record(file, line_number, line)


def _record(file: DataFile, line_number: int, line: bytes) -> Record:
    where = file.location(line_number)
    if len(line) > LONGEST_LINE:
        return _unusable(where, line, f"line longer than {LONGEST_LINE >> 20} MiB")
    try:
        columns: Any = _decode(line)
    except UnicodeDecodeError:
        return _unusable(where, line, "not UTF-8")
    except (msgspec.DecodeError, RecursionError) as error:
        return _unusable(where, line, f"not JSON ({one_line(error)})")
    if not isinstance(columns, dict):
        return _unusable(where, line, "not a JSON object")
    if _HUGE_NUMBER.search(line):
        columns = plain(columns)
    return Record(where, columns)


def _unusable(where: str, line: bytes, problem: str) -> Record:
    kept = line[:_KEPT].decode("utf-8", "replace")
    return Record(where, {"line": kept}, f"{where}: {problem}")


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(_decode(line), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _lines(file: DataFile) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers from 1, without the end of line.

    Of a line that is too long the first `LONGEST_LINE` + 1 bytes."""
    with _unpacked(file) as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
                if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise SourceError(f"{file.name}: is UTF-16; convert it to UTF-8")
            if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                while (rest := stream.readline(_BUFFER)) and not rest.endswith(b"\n"):
                    pass
            if (line := line.rstrip(b"\r\n")) and not line.isspace():
                yield number, line


@contextmanager
def _unpacked(file: DataFile) -> Iterator[IO[bytes]]:
    with file.open() as raw:
        try:
            if file.path.endswith(".gz"):
                with gzip.GzipFile(fileobj=raw) as unzipped:
                    yield io.BufferedReader(unzipped, _BUFFER)
            elif file.path.endswith(".zst"):
                unpacked = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
                yield io.BufferedReader(unpacked, _BUFFER)
            else:
                yield io.BufferedReader(cast(io.RawIOBase, raw), _BUFFER)
        except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException) as error:
            raise SourceError(f"{file.name}: is damaged: {one_line(error)}") from error
