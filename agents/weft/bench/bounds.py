"""What must not grow: memory and file descriptors of every process, and the rows under way, over
many rows; and a consumer so slow that the source has to stop."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import linear_regression

import psutil
from rich.console import Console

from weft.bench.embedded import ended, run_plan
from weft.bench.figures import Figure, Result, at_most
from weft.bench.machine import cores, load
from weft.bench.plans import HOPS, echo_plan, make_plan
from weft.bench.progress import progress
from weft.protocol.source import MAX_UNCOMMITTED
from weft.runtime.local import LocalRun, RunFailed
from weft.runtime.status import Status
from weft_api.plan import Plan

IN_FLIGHT = 1000
CHARS = 256
MIB = 1 << 20
SETTLED = 0.3
"""Share of the rows after which nothing may grow: buffers have filled by then."""
SAMPLE_EVERY = 1.0
SLOW_SECONDS = 240.0
"""How long the slow consumer is looked at, its first third to settle. (In 40 s a writer's first
commits, which fill Delta's caches, look like growth.)"""
SLOW_IN_FLIGHT = 64
SLOW_COMMITTING = 32
"""Rows that may wait for their commit meanwhile: some seconds of what comes through."""


class Sample(dict[str, tuple[int, int]]):
    """Process -> (resident bytes, open file descriptors)."""


class Watched:
    """All processes below this one, at each look; and the most rows that were under way."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, Sample]] = []
        """With what each stands against: rows ended, or seconds."""
        self.most_under_way = 0
        self._pids: dict[str, int] = {}
        self._looked = 0.0

    def look(self, run: LocalRun, status: Status, *, at: float) -> None:
        self.most_under_way = max(self.most_under_way, status.rows.in_flight)
        now = time.monotonic()
        if now - self._looked < SAMPLE_EVERY or not ended(status):
            return
        self._looked = now
        self._pids = self._pids or run.pids()
        self.samples.append((at, _sample({pid: name for name, pid in self._pids.items()})))

    def growth(self, name: str, which: int, since: float) -> tuple[float, list[int]]:
        """Per unit of what the samples stand against, from `since` on; and the values."""
        late = [(at, found[name][which]) for at, found in self.samples if at >= since]
        if len({at for at, _ in late}) < 2:
            return 0.0, [found for _, found in late]
        at, found = zip(*late, strict=True)
        return linear_regression(at, found).slope, list(found)

    @property
    def names(self) -> list[str]:
        """Of the processes that were there at every look."""
        always = set.intersection(*(set(found) for _, found in self.samples))
        return sorted(always)


def measure(console: Console, *, quick: bool = False, rows: int = 0) -> Result:
    """Raises `RunFailed`."""
    rows = rows or (20_000 if quick else 1_000_000)
    before = load()
    seconds = SLOW_SECONDS / 6 if quick else SLOW_SECONDS
    figures = [*_many_rows(console, rows, quick=quick), *_slow_consumer(console, seconds)]
    return Result(
        "bounds",
        f"{rows:,} rows, {HOPS} hops each, {CHARS} ± 20 % characters a turn, {IN_FLIGHT:,} rows in "
        "flight; agents that take no time; Ray's own processes included",
        cores(),
        before,
        {"rows": rows, "rowsInFlight": IN_FLIGHT},
        figures,
    )


def _many_rows(console: Console, rows: int, *, quick: bool) -> list[Figure]:
    watched = Watched()
    with (
        tempfile.TemporaryDirectory(prefix="weft-bench-") as folder,
        progress(console, f"{rows:,} rows") as on,
    ):
        plan = echo_plan(Path(folder) / "out", rows=rows, in_flight=IN_FLIGHT, chars=CHARS)
        run_plan(
            plan,
            on,
            begins=lambda status: ended(status) > 0,
            watch=lambda run, status: watched.look(run, status, at=ended(status)),
        )
    if len(watched.samples) < 3:
        raise RunFailed("the run was over before it could be seen; give it more rows")
    figures = [
        Figure(
            "rows under way at the most",
            watched.most_under_way,
            "rows",
            at_most(IN_FLIGHT + MAX_UNCOMMITTED),
            f"{IN_FLIGHT:,} with agents, {MAX_UNCOMMITTED:,} that wait for their commit",
        )
    ]
    since = SETTLED * rows
    for name in watched.names:
        slope, values = watched.growth(name, 0, since)
        figures.append(
            Figure(
                f"{name}: memory",
                1e5 * slope / MIB,
                "MiB per 100,000 rows",
                # What a run of ten million rows can bear.
                None if quick else at_most(5),
                f"{values[0] / MIB:.0f} MiB, at the end {values[-1] / MIB:.0f}" if values else "",
            )
        )
    descriptors = [watched.growth(name, 1, since)[1] for name in watched.names]
    figures.append(
        Figure(
            "file descriptors: the most that one process gained",
            max((found[-1] - found[0] for found in descriptors if found), default=0),
            "descriptors",
            at_most(8),
            f"{sum(found[-1] for found in descriptors if found):,} in all at the end",
        )
    )
    return figures


def _slow_consumer(console: Console, seconds: float) -> list[Figure]:
    """The last step lets two rows a second pass: the source stops, and nothing grows."""
    watched = Watched()
    with (
        tempfile.TemporaryDirectory(prefix="weft-bench-") as folder,
        progress(console, "a slow consumer") as on,
    ):
        plan = _slow_plan(Path(folder) / "out")
        with LocalRun(plan) as run:
            began = 0.0
            seen = time.monotonic()
            while not began or time.monotonic() - began < seconds:
                status = run.status()
                if status is not None:
                    if not began and ended(status):
                        began = time.monotonic()
                    if began:
                        watched.look(run, status, at=time.monotonic() - began)
                    on.update(ended(status), 0)
                if not began and time.monotonic() - seen > 120:
                    raise RunFailed("the slow consumer has let no row pass in 120 s")
                time.sleep(0.2)
            run.stop()
    since = seconds / 3
    grown = [(60 * watched.growth(name, 0, since)[0] / MIB, name) for name in watched.names]
    most, whose = max(grown)
    return [
        Figure(
            "slow consumer: rows under way at the most",
            watched.most_under_way,
            "rows",
            at_most(SLOW_IN_FLIGHT + SLOW_COMMITTING),
            f"the source has 1,000,000; {seconds:.0f} s",
        ),
        Figure(
            "slow consumer: memory of the process that grew most",
            most,
            "MiB per minute",
            at_most(4),
            whose,
        ),
    ]


def _slow_plan(output: Path) -> Plan:
    return make_plan(
        "slow",
        output,
        rows=1_000_000,
        in_flight=SLOW_IN_FLIGHT,
        steps=[
            {"name": "fast", "next": [{"to": "slow"}]},
            {"name": "slow", "next": [{"to": "$accept"}]},
        ],
        pools={
            "fast": {"agent": "weft.builtin:EchoAgent", "config": {"chars": 10_000}},
            "slow": {
                "agent": "weft.bench.agents:Pause",
                "config": {"seconds": 2},
                "concurrency": 4,
            },
        },
    )


def _sample(names: dict[int, str]) -> Sample:
    found = Sample()
    others: defaultdict[str, int] = defaultdict(int)
    me = psutil.Process()
    for one in [me, *me.children(recursive=True)]:
        try:
            name = names.get(one.pid)
            if name is None:
                program = "this command" if one.pid == me.pid else _program(one)
                others[program] += 1
                name = program if others[program] == 1 else f"{program} {others[program]}"
            found[name] = (int(one.memory_info().rss), one.num_fds())
        except psutil.NoSuchProcess:
            continue
    return found


def _program(process: psutil.Process) -> str:
    """`raylet`, `ray::IDLE`, `dashboard/agent.py`."""
    words = process.cmdline() or [process.name()]
    scripts = [word for word in words[1:3] if word.endswith(".py")]
    return "/".join((scripts or words)[0].split("/")[-2:])
