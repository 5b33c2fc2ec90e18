"""The table at the end of a campaign."""

from __future__ import annotations

from collections.abc import Sequence

from weft.attack.campaign import Round
from weft.attack.recovery import kinds, restarted, waits, went_on
from weft.bench.figures import quantile


def table(rounds: Sequence[Round]) -> str:
    """Each kind of strike: how many hit, processes hit, woken again, and the recovery."""
    blows = kinds(blow for found in rounds for blow in found.blows)
    measured: dict[str, list[float]] = {}
    for found in rounds:
        for kind, seconds in waits(found).items():
            measured.setdefault(kind, []).extend(seconds)
    lines = [f"{'strike':<28}{'made':>6}{'hit':>6}{'woke':>6}{'moved':>8}{'p50 s':>8}{'p99 s':>8}"]
    for kind in sorted(blows, key=lambda kind: -len(blows[kind])):
        hit = sum(len(blow.pids) for blow in blows[kind])
        woke = sum(blow.woke for blow in blows[kind])
        seconds = measured.get(kind, [])
        figures = (
            f"{len(seconds):>8}{quantile(seconds, 0.5):>8.2f}{quantile(seconds, 0.99):>8.2f}"
            if seconds
            else f"{'–':>8}{'–':>8}{'–':>8}"
        )
        lines.append(f"{kind:<28}{len(blows[kind]):>6}{hit:>6}{woke:>6}{figures}")
    rows = sum(len(found.table) for found in rounds)
    total = sum(len(found.blows) for found in rounds)
    broken = sum(bool(found.faults) for found in rounds)
    lines += [
        f"{total} strikes in {len(rounds)} rounds and {sum(r.seconds for r in rounds):.0f} s; "
        f"{sum(found.missed for found in rounds)} found nobody",
        f"{rows:,} rows in the tables; {sum(map(went_on, rounds)):,} times one went on elsewhere, "
        f"{sum(map(restarted, rounds)):,} began anew",
        f"{broken} of {len(rounds)} rounds broken"
        if broken
        else "every row once, with its end, its path in order and its tags rising",
    ]
    return "\n".join(lines)
