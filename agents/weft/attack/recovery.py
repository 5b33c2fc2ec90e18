"""How long until work went on after a blow, as the table's own records tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from weft.attack.campaign import Blow, Round


def waits(found: Round) -> dict[str, list[float]]:
    """Seconds by kind of blow.

    Where processes were struck: for each row that had to be sent or issued again, from the first
    blow since its last hop began to the hop that went on. Where the command was started again:
    from its start to the first new hop (Ray's own start included)."""
    measured: dict[str, list[float]] = {}
    blows = sorted(found.blows, key=lambda blow: blow.at)
    for since, began in _moves(found.table):
        blow = next((blow for blow in blows if since < blow.at < began), None)
        if blow is not None and not any(b.began_again for b in blows if since < b.at < began):
            measured.setdefault(blow.kind, []).append(began - blow.at)
    starts = sorted(hop["started"] for row in found.table for hop in row["provenance"])
    for blow in blows:
        if blow.began_again:
            first = next((start for start in starts if start > blow.began_again), None)
            if first is not None:
                measured.setdefault(blow.kind, []).append(first - blow.began_again)
    return measured


def _moves(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[float, float]]:
    """(the last hop before began, the next one began) of rows that were sent again."""
    for row in rows:
        before = None
        for hop in row["provenance"]:
            if before is not None and hop["fork"] > before["fork"]:
                yield before["started"], hop["started"]
            before = hop


def restarted(found: Round) -> int:
    """Rows whose way began anew at least once: issued again by the source, or sent again by it."""
    return sum(
        bool(row["provenance"])
        and (row["provenance"][0]["epoch"] & 0xFFFF > 0 or row["provenance"][0]["fork"] > 0)
        for row in found.table
    )


def went_on(found: Round) -> int:
    """Rows that went on in the middle of their way, elsewhere."""
    return sum(1 for _ in _moves(found.table))


def kinds(blows: Iterable[Blow]) -> dict[str, list[Blow]]:
    """The blows by kind, in the order of their first."""
    found: dict[str, list[Blow]] = {}
    for blow in blows:
        found.setdefault(blow.kind, []).append(blow)
    return found
