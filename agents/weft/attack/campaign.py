"""One pipeline under strikes, and its table judged at the end."""

from __future__ import annotations

import heapq
import math
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec

from weft.attack import oracle, pipeline
from weft.attack.blows import Blow, Recovery, recovery
from weft.attack.commits import Commits
from weft.attack.processes import Command, ours, send
from weft.attack.pulse import Pulse
from weft.attack.strikes import OURS, Strike
from weft.bench.machine import cores, load

GONE = 90.0
"""Seconds after its own end, or Ray's, in which a command and all its processes must be gone, on an
idle machine: Ray gives its GCS 60 s to come back."""
TARGET = 10.0
"""Seconds that a strike waits for somebody of its role to be up, on an idle machine."""
MOST_DOWN = 4
"""Of the processes of ours, so many may be missing when the next strike is made."""
BACK = 150.0
"""Seconds in which more than that many must be back, on an idle machine."""
LOOK = 0.2


class Round(msgspec.Struct):
    """What came of one pipeline."""

    seed: str
    rows: int
    """Of the source."""
    found: int
    """Of the table."""
    blows: list[Blow]
    recovery: Recovery
    faults: list[str]
    seconds: float
    missed: int = 0
    """Strikes that found nobody to hit."""
    evidence: str = ""
    """The folder with all that was left, where something was wrong."""


class Hung(Exception):
    """The run does not go on."""


class Called(Exception):
    """Off: nobody wants to know any more."""


class Attack:
    """One pipeline under strikes. `run` never raises for what the pipeline does wrong: that is in
    the round's `faults`."""

    def __init__(
        self, seed: str, rows: int, off: threading.Event, command: type[Command] = Command
    ) -> None:
        """`off`: once it is set, `run` ends everything at once and raises `Called`."""
        self._new_command = command
        self._folder = Path(tempfile.mkdtemp(prefix="wa-", dir="/tmp"))
        self._output = self._folder / pipeline.OUTPUT
        self._seed = seed
        self._rows = rows
        self._off = off
        self._chance = Random(seed)
        self._blows: list[Blow] = []
        self._missed = 0
        self._sleepers: list[tuple[float, int, Blow]] = []
        self._commits = Commits(self._output)
        self._command: Command
        self._pulse: Pulse

    def run(self, strikes: Iterator[Strike], wanted: int) -> Round:
        """Strikes until so many have hit or the rows have ended; then a calm end, and judgement.
        Takes no more of `strikes` than it has tried."""
        started = time.monotonic()
        pipeline.write(self._folder, rows=self._rows)
        faults: list[str] = []
        try:
            self._start()
            self._under_fire(strikes, wanted)
            pipeline.calm(self._folder)
            self._calm()
        except Hung as hung:
            faults.append(str(hung))
        except Called:
            self._command.kill_all()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            self._command.kill_all()
        table = oracle.read(self._output)
        faults += oracle.judge(table, expected=self._rows, whole=not faults)
        faults += oracle.audit(self._output)
        result = Round(
            seed=self._seed,
            rows=self._rows,
            found=len(table),
            blows=self._blows,
            recovery=recovery(table, self._blows),
            faults=faults,
            seconds=time.monotonic() - started,
            missed=self._missed,
        )
        if faults:
            result.evidence = str(self._folder)
            (self._folder / "blows.json").write_bytes(msgspec.json.encode(self._blows))
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
        return result

    # the attack

    def _under_fire(self, strikes: Iterator[Strike], wanted: int) -> None:
        while len(self._blows) < wanted:
            strike = next(strikes)
            self._pass(strike.after)
            self._until_it_bears_more()
            if self._command.ended() is not None:
                return
            self._strike(strike)

    def _until_it_bears_more(self) -> None:
        """Until rows get through, and most processes are up; or the command has ended."""
        began = time.monotonic()
        while self._command.ended() is None:
            down = pipeline.PROCESSES - len(ours(self._command.roles()))
            if down <= MOST_DOWN and self._pulse.holds(time.monotonic()):
                return
            if down > MOST_DOWN and (waited := time.monotonic() - began) > BACK * slowness():
                raise Hung(f"{down} processes are still missing {waited:.0f} s after a blow")
            self._pass(LOOK)

    def _strike(self, strike: Strike) -> None:
        began = time.monotonic()
        while not (victims := self._victims(strike)):
            if time.monotonic() - began > TARGET * slowness() or self._command.ended() is not None:
                self._missed += 1
                return
            self._pass(LOOK)
        what = signal.SIGSTOP if strike.pause else signal.SIGKILL
        blow = Blow(strike.kind, time.time(), [pid for pid in victims if send(pid, what)])
        if not blow.pids:
            self._missed += 1
            return
        self._blows.append(blow)
        until = time.monotonic() + strike.pause
        self._pulse.struck(until)
        if strike.pause:
            for pid in blow.pids:
                heapq.heappush(self._sleepers, (until, pid, blow))
        if strike.ends_run:
            self._after_the_end(blow)

    def _victims(self, strike: Strike) -> list[int]:
        """Somebody for each role, or nobody."""
        if strike.roles == ("**",):
            return self._command.alive()
        roles = self._command.roles()
        if strike.roles == ("*",):
            return ours(roles) if all(roles.get(role) for role in OURS) else []
        chosen: list[int] = []
        for role in strike.roles:
            left = sorted(set(roles.get(role, [])) - set(chosen))
            if not left:
                return []
            chosen.append(self._chance.choice(left))
        return chosen

    def _after_the_end(self, blow: Blow) -> None:
        """The command must end by itself, with all that it has started; then it is run again."""
        self._wake(math.inf)
        self._all_gone(f"{blow.kind}: ")
        if wrong := oracle.judge(oracle.read(self._output), expected=self._rows, whole=False):
            raise Hung(f"{blow.kind}: " + "; ".join(wrong))
        blow.began_again = time.time()
        self._start()

    # waiting

    def _start(self) -> None:
        """Until the run has really begun, or ended."""
        self._command = self._new_command(self._folder)
        self._pulse = Pulse(time.monotonic(), self._commits.count())
        while not self._pulse.begun and self._command.ended() is None:
            self._pass(LOOK)

    def _calm(self) -> None:
        while self._command.ended() is None:
            self._pass(LOOK)
        if code := self._command.ended():
            raise Hung(f"the command ended with {code}: {self._command.errors.read_text()[-800:]}")
        self._all_gone("the run is over: ")

    def _all_gone(self, why: str) -> None:
        began = time.monotonic()
        while left := self._command.wait_until_gone(LOOK):
            self._look_up()
            self._wake(time.monotonic())
            if (waited := time.monotonic() - began) > GONE * slowness():
                raise Hung(f"{why}{len(left)} processes are left after {waited:.0f} s: {left}")

    def _pass(self, seconds: float) -> None:
        """Let time pass: wake who has slept enough, and see that the table grows."""
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            self._look_up()
            self._wake(now)
            self._pulse.take(now, self._commits.count())
            if self._command.ended() is None and (fault := self._pulse.fault(now, slowness())):
                raise Hung(fault)
            if now >= until:
                return
            time.sleep(min(LOOK, until - now))

    def _wake(self, now: float) -> None:
        """Who has slept enough by now."""
        while self._sleepers and self._sleepers[0][0] <= now:
            _, pid, blow = heapq.heappop(self._sleepers)
            blow.woke += send(pid, signal.SIGCONT)

    def _look_up(self) -> None:
        if self._off.is_set():
            raise Called


def slowness() -> float:
    """How many times longer than on an idle machine things may take here: who waits for a core
    waits for all that wait before it. (A pipeline that hangs is no load itself.)"""
    return max(1.0, load() / cores())
