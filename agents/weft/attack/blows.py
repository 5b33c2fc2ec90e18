"""Blows that hit, and how long until work went on after them, as the table's own records tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec


class Blow(msgspec.Struct):
    """A strike that has hit."""

    kind: str
    at: float
    """Unix time."""
    pids: list[int]
    woke: int = 0
    """Of paused processes: how many were still there to be woken."""
    began_again: float = 0.0
    """When the command was started again, where the blow ended it."""


class Recovery(msgspec.Struct):
    """What the blows of one pipeline cost its rows."""

    waits: dict[str, list[float]]
    """Seconds by kind of blow. Where processes were struck: for each row that had to be sent or
    issued again, from the first blow since its last hop began to the hop that went on. Where the
    command was started again: from its start to the first new hop (Ray's own start included)."""
    went_on: int
    """Times that a row went on in the middle of its way, elsewhere."""
    restarted: int
    """Rows whose way began anew at least once."""


def recovery(table: Sequence[Mapping[str, Any]], blows: Iterable[Blow]) -> Recovery:
    """`table`: as `oracle.read` gives it."""
    blows = sorted(blows, key=lambda blow: blow.at)
    moves = list(_moves(table))
    waits: dict[str, list[float]] = {}
    for since, began in moves:
        between = [blow for blow in blows if since < blow.at < began]
        if between and not any(blow.began_again for blow in between):
            waits.setdefault(between[0].kind, []).append(began - between[0].at)
    starts = sorted(hop["started"] for row in table for hop in row["provenance"])
    for blow in blows:
        first = next((start for start in starts if start > blow.began_again), None)
        if blow.began_again and first is not None:
            waits.setdefault(blow.kind, []).append(first - blow.began_again)
    return Recovery(waits, len(moves), sum(map(_began_anew, table)))


def _moves(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[float, float]]:
    """(the last hop before began, the next one began) of rows that were sent again."""
    for row in rows:
        before = None
        for hop in row["provenance"]:
            if before is not None and hop["fork"] > before["fork"]:
                yield before["started"], hop["started"]
            before = hop


def _began_anew(row: Mapping[str, Any]) -> bool:
    """Issued again by the source, or sent again by it."""
    hops = row["provenance"]
    return bool(hops) and (hops[0]["epoch"] & 0xFFFF > 0 or hops[0]["fork"] > 0)
