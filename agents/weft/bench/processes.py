"""CPU time and memory of a run's processes, Ray's own included."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping

import psutil

RAY = "Ray's own"
DRIVER = "this command"
HEAD = "weft"
"""What `by_role` makes of the name of the head's actor."""


class Processes:
    """All processes below this one, but those with a command line that holds `without`.

    Looking costs milliseconds of CPU, charged to this command: look seldom.
    """

    def __init__(self, *, without: str = "\0") -> None:
        self._me = psutil.Process()
        self._without = without

    def cpu(self) -> dict[int, float]:
        """Process id -> seconds of CPU so far, user and system."""
        return {one.pid: sum(one.cpu_times()[:2]) for one in self._alive()}

    def memory(self) -> dict[int, int]:
        """Process id -> resident bytes."""
        return {one.pid: one.memory_info().rss for one in self._alive()}

    def _alive(self) -> list[psutil.Process]:
        found = []
        for one in [self._me, *self._me.children(recursive=True)]:
            try:
                if one.status() != psutil.STATUS_ZOMBIE and self._without not in " ".join(
                    one.cmdline()
                ):
                    found.append(one)
            except psutil.NoSuchProcess:
                continue
        return found


def spent(before: Mapping[int, float], after: Mapping[int, float]) -> dict[int, float]:
    """CPU seconds between two looks; a process that ended in between counts what was seen."""
    return {pid: seconds - before.get(pid, 0.0) for pid, seconds in after.items()}


def by_role(amounts: Mapping[int, float], names: Mapping[str, int]) -> dict[str, float]:
    """Adds up by kind of process. `names`: process id of each of ours (`LocalRun.pids`)."""
    kinds = {pid: name.rpartition("-")[0] for name, pid in names.items()}
    roles: defaultdict[str, float] = defaultdict(float)
    for pid, amount in amounts.items():
        roles[DRIVER if pid == os.getpid() else kinds.get(pid, RAY)] += amount
    return dict(roles)
