"""Daemons that outlive the command that starts them, each found again by its pid file.

A pid alone may meanwhile belong to somebody else, so the file also keeps the process's start time
and the machine's boot id; only a process that matches all three is ever signalled.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .settings import ClusterError, logs_folder, state_folder
from .shell import Words


@dataclass(frozen=True)
class Identity:
    pid: int
    started: str
    boot: str


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> tuple[str, str] | None:
    """(state letter, start time in ticks), or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name in parentheses may hold blanks
    return fields[0], fields[19]


def _pid_file(name: str) -> Path:
    return state_folder() / "pids" / f"{name}.json"


def log_of(name: str) -> Path:
    return logs_folder() / f"{name}.log"


def recorded() -> list[str]:
    """The names of all daemons that have a pid file, running or not."""
    return sorted(file.stem for file in (state_folder() / "pids").glob("*.json"))


def identity(name: str) -> Identity | None:
    """The daemon's identity if it runs now. A zombie does not."""
    try:
        known = Identity(**json.loads(_pid_file(name).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    stat = _stat(known.pid)
    if stat is None or stat[0] == "Z" or stat[1] != known.started or known.boot != _boot_id():
        return None
    return known


def runs(name: str) -> bool:
    return identity(name) is not None


def start(name: str, argv: Words, *, env: Mapping[str, str] | None = None) -> None:
    """Start it in a session of its own, so that Ctrl-C on ``up`` does not reach it."""
    if runs(name):
        return
    log = log_of(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    _pid_file(name).parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as out:
        try:
            process = subprocess.Popen(
                [str(word) for word in argv],
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
            )
        except FileNotFoundError:
            raise ClusterError(f"{name}: there is no {argv[0]}") from None
    stat = _stat(process.pid)
    if stat is None:
        raise ClusterError(f"{name} ended at once; see {log}")
    _pid_file(name).write_text(json.dumps(asdict(Identity(process.pid, stat[1], _boot_id()))))


def stop(name: str, *, grace: float = 10.0) -> None:
    """Ask it to end, insist after ``grace`` seconds, and forget it. 0 seconds kills at once."""
    known = identity(name)
    if known is not None:
        if grace > 0:
            _signal(known.pid, signal.SIGTERM)
            deadline = time.monotonic() + grace
            while runs(name) and time.monotonic() < deadline:
                time.sleep(0.05)
        if runs(name):
            _signal(known.pid, signal.SIGKILL)
            deadline = time.monotonic() + 5
            while runs(name) and time.monotonic() < deadline:
                time.sleep(0.02)
    _pid_file(name).unlink(missing_ok=True)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def kill_all(pids: list[int]) -> None:
    """End processes that were found by their cgroup or socket to be this cluster's."""
    for pid in pids:
        _signal(pid, signal.SIGKILL)
