"""How a run is shown while it goes on: plain lines or JSON here, the live view in `live`."""

from __future__ import annotations

import re
import time
from typing import Protocol, TextIO

import msgspec

from weft.cli import units
from weft.cli.progress import Progress
from weft.runtime.status import OutputStatus, RowCounts, Status, TokenCounts
from weft_api.plan import Plan

PLAIN_EVERY = 5.0
"""Seconds between plain lines while rows move."""
TROUBLE_EVERY = 30.0
"""Seconds after which trouble that lasts is told again."""
JSON_EVERY = 1.0
_FIGURES = re.compile(r"\d+")


class View(Protocol):
    """Shows a run. Its methods never fail the run."""

    def starting(self, what: str) -> None:
        """`what` is under way before the first status."""

    def update(self, progress: Progress) -> None:
        """A new status; called several times a second."""

    def say(self, line: str) -> None:
        """Something that the person has to know, once."""

    def close(self, final: Status | None) -> None:
        """No more updates; `final` is the last status, where there is one."""


class PlainView:
    """A line now and then; for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next = 0.0
        self._shown = ""
        self._trouble = ""
        self._trouble_next = 0.0

    def starting(self, what: str) -> None:
        self.say(what)

    def update(self, progress: Progress) -> None:
        line, now = plain_line(progress), time.monotonic()
        self._tell_trouble(progress.trouble, now)
        if now >= self._next and line != self._shown:
            self._next, self._shown = now + PLAIN_EVERY, line
            self.say(f"{units.seconds(progress.status.elapsed)}: {line}")

    def _tell_trouble(self, trouble: str, now: float) -> None:
        """At once when it is a new one (its figures aside), and then now and again."""
        kind = _FIGURES.sub("", trouble)
        if trouble and (kind != self._trouble or now >= self._trouble_next):
            self._trouble_next = now + TROUBLE_EVERY
            self.say(f"trouble: {trouble}")
        self._trouble = kind

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def close(self, final: Status | None) -> None:
        """Nothing to let go of."""


class JsonView:
    """One status as JSON a line; lines for people are its `message`."""

    def __init__(self, stream: TextIO, plan: Plan) -> None:
        self._stream = stream
        self._plan = plan
        self._next = 0.0
        self._message = ""

    def starting(self, what: str) -> None:
        if self._next == 0.0:  # Later the statuses themselves tell.
            self._print(blank_status(self._plan, "Starting", what))

    def update(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + JSON_EVERY
        message = progress.trouble or self._message
        self._print(msgspec.structs.replace(progress.status, message=message))

    def say(self, line: str) -> None:
        self._message = line

    def close(self, final: Status | None) -> None:
        if final is not None:
            self._print(final)

    def _print(self, status: Status) -> None:
        print(msgspec.json.encode(status).decode(), file=self._stream, flush=True)


def plain_line(progress: Progress) -> str:
    """`335 of 600 rows (320 accepted, 12 rejected, 3 dead), 120 in flight, 8 rows/s, 33 s left`"""
    if progress.starting and not any(pool.hops for pool in progress.pools):
        return f"waiting for {', '.join(progress.starting)}"
    rows = progress.status.rows
    total = "" if rows.total is None else f" of {rows.total:,}"
    wanted = "" if rows.target is None else f" of {rows.target:,}"
    parts = [
        f"{progress.ended:,}{total} rows ({rows.accepted:,}{wanted} accepted, "
        f"{rows.rejected:,} rejected, {rows.dead:,} dead)",
        f"{rows.in_flight:,} in flight",
        f"{units.rate(progress.rows_per_second)} rows/s",
    ]
    if rows.committing:
        parts.insert(2, f"{rows.committing:,} to commit")
    if progress.left is not None:
        parts.append(f"{units.seconds(progress.left)} left")
    return ", ".join(parts)


def blank_status(plan: Plan, phase: str, message: str) -> Status:
    """A status from outside of the head: before it is up, or where it never was."""
    return Status(
        pipeline=plan.pipeline,
        phase=phase,
        plan_generation=plan.generation,
        message=message,
        rows=RowCounts(None, 0, 0, 0, 0, None, 0),
        tokens=TokenCounts(0, 0),
        pools=[],
        writers=[],
        output=OutputStatus(plan.output.uri, 0),
        started=time.time(),
        elapsed=0.0,
    )
