"""Memory: flat over many rows, and small in an idle agent."""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import linear_regression
from typing import Any

import psutil
import ray
from rich.console import Console

from weft.bench.embedded import ended, run_plan
from weft.bench.figures import Figure, Result, at_most
from weft.bench.machine import cores, load
from weft.bench.plans import ECHOES, HOPS, echo_plan
from weft.bench.progress import progress
from weft.runtime.local import LocalRun, RunFailed
from weft.runtime.status import Status

CHARS = 256
IN_FLIGHT = 1000
MIB = 1 << 20
SETTLED = 0.3
"""Share of the rows after which memory has to be flat: buffers have filled by then."""
SAMPLE_EVERY = 1.0


def measure(console: Console, *, quick: bool = False) -> Result:
    """Raises `RunFailed`."""
    rows = 20_000 if quick else 200_000
    before = load()
    watched = Watched()
    with (
        tempfile.TemporaryDirectory(prefix="weft-bench-") as folder,
        progress(console, f"{rows:,} rows") as on,
    ):
        plan = echo_plan(Path(folder) / "out", rows=rows, in_flight=IN_FLIGHT, chars=CHARS)
        run_plan(plan, on, begins=lambda status: ended(status) > 0, watch=watched.look)
    if not watched.samples:
        raise RunFailed("the run was over before its memory could be seen")
    figures = [
        Figure(
            "an idle agent above Ray's bare worker",
            (watched.idle_agent - watched.bare_worker) / MIB,
            "MiB",
            at_most(120),
            f"agent {watched.idle_agent / MIB:.0f}, worker {watched.bare_worker / MIB:.0f}",
        )
    ]
    # 5 MiB in 100,000 rows is what a run of ten million rows can bear; a leak of one row's body
    # would show as 200 MiB.
    figures += [
        Figure(
            f"{name}: growth",
            watched.slope(name, rows) / MIB,
            "MiB per 100,000 rows",
            None if quick else at_most(5),
            watched.said(name, rows),
        )
        for name in watched.names
    ]
    return Result(
        "memory",
        f"{rows:,} rows, {HOPS} hops each, {CHARS} ± 20 % characters a turn, {IN_FLIGHT:,} rows in "
        "flight; agents that take no time",
        cores(),
        before,
        {"rows": rows, "characters": CHARS, "rowsInFlight": IN_FLIGHT},
        figures,
    )


def _bare_worker() -> Any:
    """An actor that does nothing. Defined in here, so that its process imports nothing of ours."""

    class Bare:
        async def pid(self) -> int:
            return os.getpid()

    return ray.remote(Bare).options(num_cpus=0).remote()


class Watched:
    """Resident memory of each process against the rows committed."""

    def __init__(self) -> None:
        self.samples: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self.bare_worker = self.idle_agent = 0
        self._pids: dict[str, int] = {}
        self._looked = 0.0

    @property
    def names(self) -> list[str]:
        return sorted(self.samples)

    def look(self, run: LocalRun, status: Status) -> None:
        agents = [one for pool in status.pools for one in pool.instances]
        if not self._pids and len(agents) == len(ECHOES):
            self._pids = run.pids()
            # As they are when they have just joined: the first rows have hardly come by.
            self.idle_agent = min(_resident(self._pids[one.name]) for one in agents)
            bare = _bare_worker()
            self.bare_worker = _resident(ray.get(bare.pid.remote()))
            ray.kill(bare)
        if self._pids and time.monotonic() - self._looked >= SAMPLE_EVERY and ended(status):
            self._looked = time.monotonic()
            for name, pid in self._pids.items():
                self.samples[name].append((ended(status), _resident(pid)))

    def slope(self, name: str, rows: int) -> float:
        """Bytes in 100,000 rows, once `SETTLED` of the rows are done."""
        late = self._late(name, rows)
        if len({done for done, _ in late}) < 2:
            return 0.0
        done, resident = zip(*late, strict=True)
        return 1e5 * linear_regression(done, resident).slope

    def said(self, name: str, rows: int) -> str:
        first, last = self._late(name, rows)[0], self._late(name, rows)[-1]
        return (
            f"{first[1] / MIB:.0f} MiB after {first[0]:,} rows, {last[1] / MIB:.0f} after "
            f"{last[0]:,}"
        )

    def _late(self, name: str, rows: int) -> list[tuple[int, int]]:
        samples = self.samples[name]
        return [sample for sample in samples if sample[0] >= SETTLED * rows] or samples[-1:]


def _resident(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)
