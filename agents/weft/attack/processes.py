"""The processes of one `weft run`: found by its session, told apart by what they are called."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from weft.attack.strikes import AGENT, COMMAND, GCS, HEAD, OURS, RAYLET, WRITER

_TITLES = {"ray::HeadActor": HEAD, "ray::AgentActor": AGENT, "ray::WriterActor": WRITER}
_PROGRAMS = {"raylet": RAYLET, "gcs_server": GCS}


class Command:
    """`weft run FOLDER --json` in a session of its own, with a Ray in `folder/ray`.

    Only processes of that session are ever looked at or struck."""

    program = "from weft.cli import main; main()"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.began = time.time()
        self.out = folder / "status.jsonl"
        self.errors = folder / "errors.txt"
        # Unix sockets have short paths, and Ray puts its own under this one.
        environment = {**os.environ, "RAY_TMPDIR": str(folder / "r")}
        with self.out.open("ab") as out, self.errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", self.program, "run", str(folder), "--json"],
                stdout=out,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the command, of its session, and of its process group."""
        return self._process.pid

    def roles(self) -> dict[str, list[int]]:
        """Process ids by role; those of Ray's other processes under ""."""
        found: dict[str, list[int]] = {}
        for pid in self.alive():
            found.setdefault(self._role(pid), []).append(pid)
        return found

    def alive(self) -> list[int]:
        """Every process of the session that has not ended."""
        found = []
        for one in psutil.process_iter():
            try:
                mine = os.getsid(one.pid) == self._process.pid
                if mine and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one.pid)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def ended(self) -> int | None:
        """The command's exit code; None while it runs."""
        return self._process.poll()

    def wait_until_gone(self, seconds: float) -> list[int]:
        """Processes of the session that are still there after so long, the command's death
        included; [] is as it should be."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._process.poll()
            if not (left := self.alive()):
                return []
            time.sleep(0.1)
        return left

    def kill_all(self) -> None:
        """All of the session, until nothing is left of it."""
        deadline = time.monotonic() + 10
        while (left := self.alive()) and time.monotonic() < deadline:
            for pid in left:
                send(pid, signal.SIGKILL)
            time.sleep(0.05)
            self._process.poll()

    def _role(self, pid: int) -> str:
        if pid == self._process.pid:
            return COMMAND
        with contextlib.suppress(psutil.NoSuchProcess):
            words = psutil.Process(pid).cmdline() or [""]
            title = words[0].partition(".")[0].split(" ")[0]
            if title in _TITLES:
                return _TITLES[title]
            return _PROGRAMS.get(words[0].rpartition("/")[2], "")
        return ""


def ours(roles: dict[str, list[int]]) -> list[int]:
    """The processes that run Weft's own code, the command aside."""
    return [pid for role in OURS for pid in roles.get(role, [])]


def send(pid: int, what: signal.Signals) -> bool:
    """Whether there was such a process to take the signal."""
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        return False
    return True
