"""A plan run to its end on an embedded Ray, watched at a few moments."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

from weft.bench.processes import Processes, by_role, spent
from weft.bench.progress import Progress
from weft.runtime.local import LocalRun, RunFailed
from weft.runtime.status import Status
from weft_api.plan import Plan

POLL = 0.2
"""Seconds between looks at the status: each look is a call that the head answers."""
STALLED = 120.0
"""Seconds without any progress after which a run is given up."""


class Window:
    """What passed between a moment of the run and its end. Seconds by the head's clock."""

    def __init__(self, rows: int, seconds: float, cpu: dict[str, float]) -> None:
        self.rows = rows
        """Committed in it."""
        self.seconds = seconds
        self.cpu = cpu
        """CPU seconds by role: pools, `writer`, `head`, Ray's own processes, this command."""


def ended(status: Status) -> int:
    """Rows that have an end."""
    return status.rows.accepted + status.rows.rejected + status.rows.dead


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
    opened: Status | None = None
    before: dict[int, float] = {}
    latest, moved = -1, time.monotonic()
    with LocalRun(plan) as run:
        while True:
            status = run.status()
            now = time.monotonic()
            if status is not None:
                if opened is None and begins(status):
                    before, opened = processes.cpu(), status
                watch(run, status)
                done = ended(status)
                progress.update(done, status.rows.total or 0)
                if done != latest:
                    latest, moved = done, now
                if status.finished:
                    break
            if now - moved > STALLED:
                _give_up(f"no row has ended in {STALLED:.0f} s ({latest} before)")
            time.sleep(POLL)
        after = processes.cpu()
        names = run.pids()
    if status.phase != "Succeeded":
        _give_up(status.message)
    if opened is None:
        _give_up("the run was over before it could be measured; give it more rows")
    window = Window(
        ended(status) - ended(opened),
        status.elapsed - opened.elapsed,
        by_role(spent(before, after), names),
    )
    return status, window


def _give_up(why: str) -> NoReturn:
    raise RunFailed(why)
