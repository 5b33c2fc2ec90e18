"""How soon rows go on when the process that has them is killed."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from weft.bench.embedded import ended, run_plan
from weft.bench.figures import Figure, Result, at_most, quantile
from weft.bench.machine import cores, load
from weft.bench.plans import make_plan
from weft.bench.progress import progress
from weft.bench.traces import Hop, read_hops
from weft.runtime.actors import HEAD
from weft.runtime.local import LocalRun
from weft.runtime.status import Status

WORK = 0.05
"""Seconds of a hop."""
IN_FLIGHT = 200
STEPS = ("first", "second", "third", "fourth")
APART = 8.0
"""Seconds between two kills: longer than a process takes to come back."""


def measure(console: Console, *, quick: bool = False) -> Result:
    """Raises `RunFailed`."""
    kills = 2 if quick else 6
    before = load()
    with (
        tempfile.TemporaryDirectory(prefix="weft-bench-") as folder,
        progress(console, "agents and the head are killed") as on,
    ):
        output = Path(folder) / "out"
        killer = _Killer(["first-0", "second-1"] * (kills // 2) + [HEAD])
        plan = make_plan(
            "recovery",
            output,
            rows=int((kills + 2) * APART * IN_FLIGHT / (len(STEPS) * WORK)),
            in_flight=IN_FLIGHT,
            steps=[
                {"name": name, "next": [{"to": after}]}
                for name, after in zip(STEPS, [*STEPS[1:], "$accept"], strict=True)
            ],
            pools={
                name: {
                    "agent": "weft.bench.agents:Pause",
                    "config": {"seconds": WORK},
                    "replicas": 2,
                    "concurrency": IN_FLIGHT,
                }
                for name in STEPS
            },
        )
        run_plan(plan, on, begins=lambda status: ended(status) > 0, watch=killer.look)
        rows = read_hops(output)
    agents = sum(name != HEAD for name, _ in killer.kills)
    waited = [wait for row in rows for wait in waits_of(row, killer.kills)]
    head = next((moment for name, moment in killer.kills if name == HEAD), None)
    figures = [
        Figure("rows that an agent's death moved", len(waited), "rows", None, f"{agents} kills")
    ]
    if waited:
        figures += [
            Figure("their next hop began after: p50", quantile(waited, 0.5), "s"),
            Figure("their next hop began after: p99", quantile(waited, 0.99), "s", at_most(1)),
        ]
    if head is not None:
        figures += [
            Figure(
                "the head killed: no hop began for",
                longest_gap([hop.started for row in rows for hop in row], head),
                "s",
                None,
                "agents go on with what is on its way",
            ),
            Figure(
                "the head killed: the first new row began after",
                issued_again(rows, head) - head,
                "s",
                at_most(30),
            ),
        ]
    return Result(
        "recovery",
        f"four pools of two agents, a hop takes {WORK} s, {IN_FLIGHT} rows in flight; processes "
        "killed with SIGKILL",
        cores(),
        before,
        {"kills": len(killer.kills), "rowsInFlight": IN_FLIGHT, "hopSeconds": WORK},
        figures,
    )


def waits_of(row: list[Hop], kills: list[tuple[str, float]]) -> list[float]:
    """Seconds from an agent's death to this row's hop that took the dead one's place: the first
    of a higher fork or epoch. `kills`: all, and when; what the head's death moved is left out."""
    waits = []
    for before, hop in zip([None, *row], row, strict=False):
        moved = hop.fork if before is None else (hop.epoch, hop.fork) > (before.epoch, before.fork)
        died = max((kill[::-1] for kill in kills if kill[1] < hop.started), default=(0.0, HEAD))
        if moved and died[1] != HEAD:
            waits.append(hop.started - died[0])
    return waits


def longest_gap(starts: list[float], since: float) -> float:
    """The longest time without a start, in the thirty seconds from `since` on."""
    near = [since, *sorted(start for start in starts if since <= start <= since + 30.0)]
    return max((later - earlier for earlier, later in pairwise(near)), default=0.0)


def issued_again(rows: list[list[Hop]], killed: float) -> float:
    """When the first row began that the head's successor issued."""
    old = max(row[0].epoch for row in rows if row[0].started < killed)
    return min(row[0].started for row in rows if row[0].epoch >> 16 > old >> 16)


class _Killer:
    """Kills the named processes one after the other, each when all are well."""

    def __init__(self, names: list[str]) -> None:
        self._left = names
        self._next = 0.0
        self.kills: list[tuple[str, float]] = []
        """Who, and when (Unix seconds)."""

    def look(self, run: LocalRun, status: Status) -> None:
        instances = [one for pool in status.pools for one in pool.instances]
        well = len(instances) == 2 * len(STEPS) and all(o.state == "serving" for o in instances)
        if not self._left or not well or not ended(status) or time.monotonic() < self._next:
            return
        name = self._left.pop(0)
        pid = run.pids()[name]
        self.kills.append((name, time.time()))
        os.kill(pid, signal.SIGKILL)
        self._next = time.monotonic() + APART
