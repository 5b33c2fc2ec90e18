"""What a format offers: the rows of one file, and what can be told of it cheaply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from weft.data.files import DataFile


class Record(msgspec.Struct):
    """A row of a file. `where` names its place for errors (`tickets.jsonl:17`)."""

    where: str
    columns: dict[str, Any]
    error: str = ""
    """Why it cannot be used, starting with `where`."""


class Glance(msgspec.Struct, frozen=True):
    """What a look at one file told."""

    columns: frozenset[str]
    whole: bool
    """Whether these are all columns of all rows."""
    rows: int | None


class Format(Protocol):
    """One kind of file."""

    @property
    def SUFFIXES(self) -> tuple[str, ...]: ...

    def glance(self, file: DataFile) -> Glance:
        """A bounded look. Raises `SourceError` for a file that is not of this kind."""

    def count(self, file: DataFile) -> int:
        """Its rows, by reading it all where need be. Raises `SourceError`."""

    def read(self, file: DataFile, *, skip: int = 0) -> Iterator[Record]:
        """The rows in order, streamed, without the first `skip`. Raises `SourceError`."""
