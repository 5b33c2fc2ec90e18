"""Rounds of strikes against one running pipeline after the other, each judged at its end."""

from __future__ import annotations

import heapq
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from weft.attack import oracle, pipeline
from weft.attack.processes import Command, ours, send
from weft.attack.strikes import OURS, Strike

STALLED = 90.0
"""Seconds from the last commit and the last blow on after which a run hangs."""
HOLD_FIRE = 8.0
"""Seconds without a commit after which nothing is struck until there is one: who is killed faster
than a process starts can only wait, which shows nothing."""
CALM = 180.0
"""Seconds that a run has to finish from the last strike on."""
GONE = 90.0
"""Seconds after its own end, or Ray's, in which a command and all its processes must be gone: Ray
gives its GCS 60 s to come back."""
BEGINS = 150.0
"""Seconds from the start of a command to its first commit."""
TARGET = 10.0
"""Seconds that a strike waits for somebody of its role to be up."""
LOOK = 0.1


class Blow(msgspec.Struct):
    """A strike that has hit."""

    kind: str
    at: float
    """Unix time."""
    pids: list[int]
    woke: int = 0
    """Of paused processes: how many were still there to be woken."""
    began_again: float = 0.0
    """When the command was started again, where the blow ended it."""


class Round(msgspec.Struct):
    """What came of one pipeline."""

    seed: str
    rows: int
    blows: list[Blow]
    faults: list[str]
    seconds: float
    table: list[dict[str, Any]]
    missed: int = 0
    """Strikes that found nobody to hit."""
    evidence: str = ""
    """The folder with all that was left, where something was wrong."""


class Hung(Exception):
    """The run does not go on."""


class Attack:
    """One pipeline under strikes. `run` never raises for what the pipeline does wrong: that is in
    the round's `faults`."""

    def __init__(self, seed: str, rows: int, say: Callable[[str], None]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="wa-", dir="/tmp"))
        self._output = self._folder / pipeline.OUTPUT
        self._seed = seed
        self._rows = rows
        self._say = say
        self._chance = Random(seed)
        self._blows: list[Blow] = []
        self._missed = 0
        self._sleepers: list[tuple[float, int, Blow]] = []
        self._commits = 0
        self._moved = 0.0
        """When the last commit was seen (monotonic seconds)."""
        self._disturbed = 0.0
        """When the last blow has been done with."""
        self._command: Command

    def run(self, strikes: Iterator[Strike]) -> Round:
        """Strikes until there are no more or the rows have ended; then a calm end, and judgement.

        What is left of `strikes` was not made."""
        started = time.monotonic()
        pipeline.write(self._folder, rows=self._rows)
        self._start()
        faults: list[str] = []
        try:
            self._wait_for_commit()
            self._under_fire(strikes)
            self._calm()
        except Hung as hung:
            faults.append(str(hung))
        finally:
            self._command.kill_all()
        table = oracle.read(self._output)
        faults += oracle.judge(table, expected=self._rows, whole=not faults)
        result = Round(
            self._seed,
            self._rows,
            self._blows,
            faults,
            time.monotonic() - started,
            table,
            self._missed,
        )
        if faults:
            result.evidence = str(self._folder)
            (self._folder / "blows.json").write_bytes(msgspec.json.encode(self._blows))
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
        return result

    # the attack

    def _under_fire(self, strikes: Iterator[Strike]) -> None:
        for strike in strikes:
            self._pass(strike.after)
            while time.monotonic() - self._moved > HOLD_FIRE and self._command.ended() is None:
                self._pass(LOOK)
            if self._command.ended() is not None:
                return
            self._strike(strike)

    def _strike(self, strike: Strike) -> None:
        deadline = time.monotonic() + TARGET
        while not (victims := self._victims(strike)):
            if time.monotonic() > deadline or self._command.ended() is not None:
                self._missed += 1
                return
            self._pass(LOOK)
        what = signal.SIGSTOP if strike.pause else signal.SIGKILL
        blow = Blow(strike.kind, time.time(), [pid for pid in victims if send(pid, what)])
        if not blow.pids:
            self._missed += 1
            return
        self._blows.append(blow)
        self._disturbed = time.monotonic() + strike.pause
        if strike.pause:
            until = time.monotonic() + strike.pause
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
        for _, pid, sleeper in self._sleepers:
            sleeper.woke += send(pid, signal.SIGCONT)
        self._sleepers.clear()
        if left := self._command.wait_until_gone(GONE):
            raise Hung(f"{blow.kind}: {len(left)} processes are left after {GONE:.0f} s: {left}")
        if wrong := oracle.judge(oracle.read(self._output), expected=self._rows, whole=False):
            raise Hung(f"{blow.kind}: " + "; ".join(wrong))
        blow.began_again = time.time()
        self._start()
        self._wait_for_commit()

    # waiting

    def _start(self) -> None:
        self._command = Command(self._folder)
        self._commits = self._count()
        self._moved = time.monotonic()
        self._disturbed = self._moved + BEGINS - STALLED

    def _wait_for_commit(self) -> None:
        """Until the run has really begun."""
        before, deadline = self._commits, time.monotonic() + BEGINS
        while self._commits == before and self._command.ended() is None:
            if time.monotonic() > deadline:
                raise Hung(f"no commit within {BEGINS:.0f} s of the start")
            self._pass(LOOK)

    def _calm(self) -> None:
        deadline = time.monotonic() + CALM
        while self._command.ended() is None:
            if time.monotonic() > deadline:
                raise Hung(f"not finished {CALM:.0f} s after the last strike")
            self._pass(LOOK)
        if code := self._command.ended():
            raise Hung(f"the command ended with {code}: {self._command.errors.read_text()[-800:]}")
        if left := self._command.wait_until_gone(GONE):
            raise Hung(f"{len(left)} processes are left {GONE:.0f} s after the end: {left}")

    def _pass(self, seconds: float) -> None:
        """Let time pass: wake who has slept enough, and see that the table grows."""
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            while self._sleepers and self._sleepers[0][0] <= now:
                _, pid, blow = heapq.heappop(self._sleepers)
                blow.woke += send(pid, signal.SIGCONT)
            count = self._count()
            if count != self._commits or self._command.ended() is not None:
                self._commits, self._moved = count, now
            elif now - max(self._moved, self._disturbed) > STALLED:
                raise Hung(f"no commit for {STALLED:.0f} s, with nothing struck meanwhile")
            if now >= until:
                return
            time.sleep(min(LOOK, until - now))

    def _count(self) -> int:
        """Data files written: they grow with rows, and not with claims."""
        return sum(1 for _ in self._output.glob("status=*/*.parquet"))
