"""A plan run to its end on an embedded Ray, watched at a few moments."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

import msgspec

from weft.bench.processes import Processes, by_role, spent
from weft.bench.progress import Progress
from weft.runtime.local import LocalRun, RunFailed
from weft.runtime.status import Status
from weft_api.plan import Plan

POLL = (0.2, 1.0)
"""Seconds between looks at the status, before the window opens and in it: each look costs CPU, here
and in the head."""
STALLED = 120.0
"""Seconds without any progress after which a run is given up."""


class Window(msgspec.Struct):
    """What passed between a moment of the run and the commit of its last row. Unix times."""

    opened: float
    closed: float
    cpu: dict[str, float]
    """CPU seconds by role: pools, `writer`, `HEAD`, Ray's own processes, this command."""

    @property
    def seconds(self) -> float:
        return self.closed - self.opened


def ended(status: Status) -> int:
    """Rows that have an end."""
    return status.rows.accepted + status.rows.rejected + status.rows.dead


def serving(plan: Plan) -> Callable[[Status], bool]:
    """Whether all agents serve: from here on a run is as fast as it gets."""
    wanted = sum(pool.replicas for pool in plan.pools)

    def begins(status: Status) -> bool:
        instances = [one for pool in status.pools for one in pool.instances]
        return sum(one.state == "serving" for one in instances) == wanted

    return begins


def run_plan(
    plan: Plan,
    progress: Progress,
    *,
    begins: Callable[[Status], bool],
    watch: Callable[[LocalRun, Status], None] = lambda run, status: None,
    without: str = "\0",
) -> tuple[Status, Window]:
    """Run the plan to its end. The window opens at the first look at which `begins` holds, so it
    leaves out the start of Ray and of the processes; it closes when the last row is committed.

    `watch` is called at each look. `without`: see `Processes`. Raises `RunFailed`."""
    processes = Processes(without=without)
    opened = 0.0
    before: dict[int, float] = {}
    latest, moved = -1, time.monotonic()
    with LocalRun(plan) as run:
        while True:
            status = run.status()
            now = time.monotonic()
            if status is not None:
                if not opened and begins(status):
                    before, opened = processes.cpu(), time.time()
                watch(run, status)
                done = ended(status)
                progress.update(done, status.rows.total or 0)
                if done != latest:
                    latest, moved = done, now
                if status.finished:
                    break
            if now - moved > STALLED:
                _give_up(f"no row has ended in {STALLED:.0f} s ({latest} before)")
            run.wait(POLL[bool(opened)])
        after = processes.cpu()
        names = run.pids()
    if status.phase != "Succeeded":
        _give_up(status.message)
    if not opened:
        _give_up("the run was over before it could be measured; give it more rows")
    closed = status.started + status.elapsed
    return status, Window(opened, closed, by_role(spent(before, after), names))


def _give_up(why: str) -> NoReturn:
    raise RunFailed(why)
