"""What a run costs while all its agents wait: CPU of processes that have nothing to do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
from rich.console import Console

from weft.bench.embedded import serving
from weft.bench.figures import Figure, Result
from weft.bench.machine import cores, load
from weft.bench.plans import make_plan
from weft.bench.processes import Processes, by_role, spent
from weft.bench.progress import progress
from weft.runtime.local import LocalRun, RunFailed
from weft_api.plan import Plan

STEPS = ("first", "second", "third")
ASK_EVERY = 0.2
SETTLE = 3.0
"""Seconds after the start of the last agent before anything is measured."""
START = 120.0


class _Spent(msgspec.Struct):
    """Milliseconds of CPU a second."""

    roles: dict[str, float]
    waking: float
    """Of it: the main threads of our processes, in which only Ray's look for signals goes on."""
    asked: int
    """Times that the status was asked for, in all."""

    @property
    def total(self) -> float:
        return sum(self.roles.values())


def measure(console: Console, *, quick: bool = False) -> Result:
    """Raises `RunFailed`."""
    seconds = 5.0 if quick else 20.0
    before = load()
    with (
        tempfile.TemporaryDirectory(prefix="weft-bench-") as folder,
        progress(console, "a run at rest"),
    ):
        plan = _plan(Path(folder) / "out")
        with LocalRun(plan) as run:
            _started(run, plan)
            quiet = _spent_in(run, seconds, time.sleep)
            asked = _spent_in(run, seconds, lambda left: _ask(run))
            run.stop()
    roles = ", ".join(f"{role} {cost:.1f}" for role, cost in sorted(quiet.roles.items()))
    question = (asked.total - quiet.total) * seconds / asked.asked
    return Result(
        "rest",
        f"{len(STEPS)} pools of one agent that waits a minute (Pause), one row",
        cores(),
        before,
        {"pools": len(STEPS), "seconds": seconds},
        [
            Figure("a run at rest", quiet.total, "ms of CPU a second", None, roles),
            Figure(
                "of it: main threads, which Ray wakes a hundred times a second",
                quiet.waking,
                "ms of CPU a second",
                None,
                f"of {len(STEPS)} agents, the writer and the head",
            ),
            Figure(
                "asking for the status, once",
                question,
                "ms of CPU",
                None,
                f"{asked.asked} times in {seconds:g} s; all processes",
            ),
        ],
    )


def _plan(output: Path) -> Plan:
    waits = {"agent": "weft.bench.agents:Pause", "config": {"seconds": 60}}
    return make_plan(
        "rest",
        output,
        rows=1,
        in_flight=1,
        steps=[
            {"name": step, "next": [{"to": after}]}
            for step, after in zip(STEPS, [*STEPS[1:], "$accept"], strict=True)
        ],
        pools=dict.fromkeys(STEPS, waits),
    )


def _started(run: LocalRun, plan: Plan) -> None:
    begins, give_up = serving(plan), time.monotonic() + START
    while (status := run.status()) is None or not begins(status):
        if time.monotonic() > give_up:
            raise RunFailed(f"the agents do not serve after {START:.0f} s")
        run.wait(ASK_EVERY)
    time.sleep(SETTLE)


def _ask(run: LocalRun) -> int:
    run.status()
    run.wait(ASK_EVERY)
    return 1


def _spent_in(run: LocalRun, seconds: float, act: Callable[[float], int | None]) -> _Spent:
    """`act` is called with the seconds that are left until there are none; it counts what it has
    asked."""
    names, processes = run.pids(), Processes()
    began, asked = time.monotonic(), 0
    cpu, waking = processes.cpu(), _main_threads(names)
    while (left := began + seconds - time.monotonic()) > 0:
        asked += act(left) or 0
    per_second = 1000 / (time.monotonic() - began)
    roles = by_role(spent(cpu, processes.cpu()), names)
    return _Spent(
        {role: cost * per_second for role, cost in roles.items()},
        (_main_threads(names) - waking) * per_second,
        asked,
    )


def _main_threads(names: dict[str, int]) -> float:
    """Seconds of CPU that the main threads of these processes have used."""
    return sum(
        thread.user_time + thread.system_time
        for pid in names.values()
        for thread in psutil.Process(pid).threads()
        if thread.id == pid
    )
