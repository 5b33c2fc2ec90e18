"""The table at the end of a campaign."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from weft.attack.blows import Blow
from weft.attack.campaign import Round
from weft.bench.figures import quantile


def table(rounds: Sequence[Round], seconds: float) -> str:
    """Each kind of strike: how many hit, processes hit, woken again, and the recovery.

    `seconds`: that the whole campaign took."""
    blows = _by_kind(blow for found in rounds for blow in found.blows)
    measured: dict[str, list[float]] = {}
    for found in rounds:
        for kind, waits in found.recovery.waits.items():
            measured.setdefault(kind, []).extend(waits)
    lines = [f"{'strike':<28}{'made':>6}{'hit':>6}{'woke':>6}{'moved':>8}{'p50 s':>8}{'p99 s':>8}"]
    for kind in sorted(blows, key=lambda kind: -len(blows[kind])):
        hit = sum(len(blow.pids) for blow in blows[kind])
        woke = sum(blow.woke for blow in blows[kind])
        waits = measured.get(kind, [])
        figures = (
            f"{len(waits):>8}{quantile(waits, 0.5):>8.2f}{quantile(waits, 0.99):>8.2f}"
            if waits
            else f"{'–':>8}{'–':>8}{'–':>8}"
        )
        lines.append(f"{kind:<28}{len(blows[kind]):>6}{hit:>6}{woke:>6}{figures}")
    total = sum(len(found.blows) for found in rounds)
    broken = sum(bool(found.faults) for found in rounds)
    lines += [
        f"{total} strikes on {len(rounds)} pipelines in {seconds:.0f} s; "
        f"{sum(found.missed for found in rounds)} found nobody",
        f"{sum(found.found for found in rounds):,} rows in the tables; "
        f"{sum(found.recovery.went_on for found in rounds):,} times one went on elsewhere, "
        f"{sum(found.recovery.restarted for found in rounds):,} began anew",
        f"{broken} of {len(rounds)} pipelines broken"
        if broken
        else "every row once, with its end, its path in order and its tags rising; chains whole",
    ]
    return "\n".join(lines)


def _by_kind(blows: Iterable[Blow]) -> dict[str, list[Blow]]:
    found: dict[str, list[Blow]] = {}
    for blow in blows:
        found.setdefault(blow.kind, []).append(blow)
    return found
