"""Rows made up from nothing but their number: the column `index`, from 0."""

from __future__ import annotations

from collections.abc import Iterator

COLUMNS = frozenset({"index"})


def read(rows: int, *, start: int = 0) -> Iterator[dict[str, int]]:
    return ({"index": number} for number in range(start, rows))
