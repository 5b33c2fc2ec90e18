"""Where rows come from: one stream of `SourceRow`, whatever the kind of source.

A source is read in a fixed order, so that a row's `ordinal` names it for ever: a run that goes on
after a crash finds what is done by ordinal. Nothing is loaded whole; a row that cannot be used is
handed on with its `error` and never stops the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import msgspec


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


class SourceError(Exception):
    """The source as a whole cannot be used. The text is one line for the user."""


class DatasetSettings(Protocol):
    """`spec.source.dataset`."""

    @property
    def uri(self) -> str: ...
    @property
    def format(self) -> str | None: ...
    @property
    def id_field(self) -> str | None: ...


class GenerateSettings(Protocol):
    """`spec.source.generate`."""

    @property
    def rows(self) -> int: ...


class SourceSettings(Protocol):
    """`weft_api`'s `Source`: exactly one of the two is set."""

    @property
    def dataset(self) -> DatasetSettings | None: ...
    @property
    def generate(self) -> GenerateSettings | None: ...


def inspect(source: SourceSettings, storage_options: Mapping[str, str]) -> SourceInfo:
    """Look at the source without reading all of it.

    Raises `SourceError` (one line) where the run could not start: nothing there, no access, an
    unknown format, no rows, the id field missing.
    """
    raise NotImplementedError


def read(
    source: SourceSettings, storage_options: Mapping[str, str], *, start: int = 0
) -> Iterator[SourceRow]:
    """Rows in their fixed order from ordinal `start` on, streamed.

    Raises `SourceError` where the source fails as a whole (it vanished, a damaged archive).
    """
    raise NotImplementedError
