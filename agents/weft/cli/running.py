"""Driving a run on this machine: start, watch, end in order on Ctrl-C, sum up."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from weft.cli.live import LiveView
from weft.cli.prepare import Prepared, Wishes, prepare
from weft.cli.progress import Meter, ended
from weft.cli.quiet import quiet_stderr
from weft.cli.reasons import grouped
from weft.cli.refused import FAILED, STOPPED, Refused, parted
from weft.cli.screen import screen
from weft.cli.stored import Stored
from weft.cli.summary import summary
from weft.cli.views import JsonView, PlainView, View, blank_status
from weft.data.errors import OutputError
from weft.runtime.status import RowCounts, Status

if TYPE_CHECKING:
    from weft.runtime.local import LocalRun

POLL = 0.5
"""Seconds between looks at the status; the end shows at once."""
MANY_DEAD = 20
"""Dead rows, and no others, that are worth a word while the run goes on."""
SEE_LOGS = "the processes' logs are in /tmp/ray/session_latest/logs"
STOP_TIMEOUT = 10.0
"""Seconds that the head has to end after a second Ctrl-C."""


class _Stopped(KeyboardInterrupt):
    """A signal that came before there was anything to drain."""


def run(paths: tuple[str, ...], pipeline: str | None, wishes: Wishes, *, view: str) -> int:
    """The whole command. Returns the exit code; raises `ManifestErrors` and `Refused`."""
    prepared = prepare(paths, pipeline, wishes)
    console = screen()
    for caution in prepared.checked.cautions:
        print(f"weft: caution: {caution}", file=sys.stderr)
    if prepared.complete:
        _tell_complete(prepared, console, view)
        return 0
    shown = _view(view, console, prepared)
    with _Stops() as stops:
        final, failure = _drive(prepared, shown, stops)
    if view != "json" and final is not None:
        console.print(summary(final, prepared.done, simulated=prepared.simulated))
    if failure:
        raise Refused(f"run: {failure}", code=FAILED)
    if stops.count and not (final and final.finished):
        return 128 + stops.signum
    return STOPPED if final is not None and final.phase == "Stopped" else 0


def _view(kind: str, console: Console, prepared: Prepared) -> View:
    if kind == "json":
        return JsonView(sys.stdout, prepared.plan)
    if kind == "live" and console.is_terminal:
        return LiveView(console, prepared.checked)
    return PlainView(sys.stdout)


def _drive(prepared: Prepared, view: View, stops: _Stops) -> tuple[Status | None, str]:
    """The last status, if there was one, and why the run failed, or ""."""
    if any(prepared.done.values()):
        view.say(f"{sum(prepared.done.values()):,} rows were done before; going on with the rest")
    view.starting("starting Ray")
    watch = _Watch(prepared, view, stops)
    with quiet_stderr():
        try:
            from weft.runtime.local import LocalRun, RunFailed

            try:
                with LocalRun(
                    prepared.plan,
                    import_from=prepared.checked.import_from,
                    wishes=prepared.wishes.to_json(),
                ) as started:
                    view.starting("starting the head and the agents")
                    stops.from_now_on_drain()
                    watch.until_over(started)
                    view.starting("ending the agents")
            except RunFailed as error:
                return watch.last, "; ".join(parted(str(error), SEE_LOGS))
        except _Stopped:
            view.say("Stopped before the first row. The same command starts again.")
        finally:
            view.close(watch.last)
    final = watch.last
    if final is not None and final.phase == "Failed":
        return final, "; ".join(parted(final.message or "the head does not say why", SEE_LOGS))
    return final, ""


class _Watch:
    """Shows statuses until the run is over; asks it to end when a signal has come."""

    def __init__(self, prepared: Prepared, view: View, stops: _Stops) -> None:
        self.last: Status | None = None
        self._view = view
        self._stops = stops
        self._meter = Meter(prepared.plan)
        self._asked = 0
        self._dead_before = prepared.done["dead"]
        self._warned = False
        self._give_up = math.inf

    def until_over(self, run: LocalRun) -> None:
        """Raises `RunFailed`."""
        while True:
            status = run.status()
            if status is not None:
                self.last = status
                self._view.update(self._meter.take(status, time.monotonic()))
                self._warn_of_deaths(status)
            if run.over or time.monotonic() > self._give_up:
                return
            if self._stops.count > self._asked:
                self._asked = self._stops.count
                if status is None or status.phase == "Starting":
                    return
                self._ask(run, status)
            run.wait(POLL)

    def _warn_of_deaths(self, status: Status) -> None:
        """Once, when nothing but dead letters comes of the run: before it has cost more."""
        dead = status.rows.dead - self._dead_before
        if self._warned or dead < MANY_DEAD or ended(status) - status.rows.resumed > dead:
            return
        self._warned = True
        kinds: list[tuple[int, str]] = []
        with contextlib.suppress(OutputError):
            kinds, _ = grouped(Stored(status.output.uri).reasons("dead"), 1)
        why = f": {kinds[0][1]}" if kinds else ""
        self._view.say(f"All {dead:,} rows so far have died{why}")

    def _ask(self, run: LocalRun, status: Status) -> None:
        if self._asked == 1:
            run.drain()
            self._view.say(_draining(status))
        else:
            run.stop()
            self._give_up = time.monotonic() + STOP_TIMEOUT
            self._view.say("Stopping. Rows that were under way are made again by the next run.")


def _draining(status: Status) -> str:
    under_way = status.rows.in_flight + status.rows.committing
    return (
        f"Draining: {under_way:,} rows under way end first. Ctrl-C again stops at once "
        "and loses nothing either; the same command goes on later."
    )


def _tell_complete(prepared: Prepared, console: Console, view: str) -> None:
    """There was nothing to do: the final status all the same."""
    done = prepared.done
    status = blank_status(prepared.plan, "Succeeded", "every row was done already")
    status.rows = RowCounts(
        total=prepared.checked.rows,
        accepted=done["accepted"],
        rejected=done["rejected"],
        dead=done["dead"],
        in_flight=0,
        pending=0,
        resumed=sum(done.values()),
        target=prepared.plan.output.target_rows,
    )
    if view == "json":
        JsonView(sys.stdout, prepared.plan).close(status)
        return
    target = status.rows.target
    rows = f"{status.rows.resumed:,} rows" if target is None else f"{target:,} rows wanted"
    console.print(f"All {rows} were done already; nothing had to be started.")
    console.print(summary(status, done, simulated=prepared.simulated))


class _Stops:
    """Counts SIGINT and SIGTERM while it is entered."""

    def __init__(self) -> None:
        self.count = 0
        self.signum = 0
        self._starting = True
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stops:
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._before[signum] = signal.signal(signum, self._take)
        return self

    def from_now_on_drain(self) -> None:
        """The run is up. Ray has put its own handler for SIGTERM in place of ours meanwhile."""
        self._starting = False
        for signum in self._before:
            signal.signal(signum, self._take)

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _take(self, signum: int, frame: FrameType | None) -> None:
        self.count += 1
        self.signum = signum
        if self._starting:
            # Nothing is under way yet: the command ends there and then.
            raise _Stopped
