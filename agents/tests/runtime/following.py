"""Follows a run: its status again and again, to its end or to where a test wants to strike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from weft.runtime.local import LocalRun
from weft.runtime.status import Status

PATIENCE = 150.0
"""Seconds. Tests that take longer have a longer one of their own."""


def until(run: LocalRun, holds: Callable[[Status], bool]) -> Status:
    """The first status that the condition holds for."""
    for status in _statuses(run):
        if holds(status):
            return status
    raise AssertionError("the run ended early")


def until_committed(run: LocalRun, rows: int) -> Status:
    """The first status with as many accepted and dead rows."""
    return until(run, lambda status: status.rows.accepted + status.rows.dead >= rows)


def to_the_end(run: LocalRun, *, patience: float = PATIENCE) -> Status:
    """The final status."""
    return list(_statuses(run, patience))[-1]


def _statuses(run: LocalRun, patience: float = PATIENCE) -> Iterator[Status]:
    deadline = time.monotonic() + patience
    status = None
    while time.monotonic() < deadline:
        status = run.status()
        if status is not None:
            yield status
        if run.over:
            return
        time.sleep(0.1)
    raise AssertionError(f"no end in sight: {status}")
