"""Finding the row that `weft show` was asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from weft.cli.dialogue import dialogue
from weft.cli.path import path
from weft.cli.refused import Refused, parted
from weft.cli.screen import screen
from weft.cli.stored import Stored
from weft.data.columns import STATUSES
from weft.data.errors import OutputError
from weft_api.errors import likeliest

IDS_LOOKED_AT = 10_000
"""Ids among which the one that was probably meant is looked for."""


def show(
    uri: str, row_id: str | None, status: str | None, *, whole_path: bool, as_json: bool
) -> None:
    """Prints one row. Raises `Refused`."""
    try:
        stored = Stored(uri)
        row = _find(stored, uri, row_id, status)
    except OutputError as error:
        problem, fix = parted(str(error), "name the folder that weft run wrote to")
        raise Refused(f"show: {problem}; {fix}") from None
    if as_json:
        print(msgspec.json.encode(row, enc_hook=_plain).decode())
        return
    console = screen()
    console.print(dialogue(row))
    console.print(path(row, whole=whole_path))


def _find(stored: Stored, uri: str, row_id: str | None, status: str | None) -> dict[str, Any]:
    counts = stored.counts()
    found = ", ".join(f"{counts[name]:,} {name}" for name in STATUSES)
    if not sum(counts.values()):
        raise Refused(f"show: {uri} holds no rows yet; weft run fills it")
    if row_id is not None:
        if row := stored.by_id(row_id, status):
            return row
        kind = f"{status} row" if status else "row"
        raise Refused(f"show: {uri} has no {kind} {row_id!r}; {_hint(stored, row_id, found)}")
    for name in [status] if status else STATUSES:
        if row := stored.first(name):
            return row
    raise Refused(f"show: {uri} has no {status} row; it has {found}")


def _hint(stored: Stored, row_id: str, found: str) -> str:
    ids = stored.some_ids(IDS_LOOKED_AT)
    if likely := likeliest(row_id, ids):
        return f'did you mean "{likely}"?'
    return f"it has {found}, with ids such as {', '.join(ids[:3])}"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)
