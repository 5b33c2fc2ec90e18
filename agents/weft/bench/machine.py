"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import timeit


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float:
    """Load average of the last minute."""
    return os.getloadavg()[0]


def python() -> str:
    return platform.python_version()


def step() -> float:
    """Nanoseconds that this interpreter takes for a small piece of plain Python. Builds of one
    version differ by more than half: a distribution's is optimised by profile, pyenv's is not."""
    kept: dict[int, list[int]] = {}

    def steps() -> None:
        for number in range(10_000):
            kept[number] = [number, number + 1]
            if number > 10:
                del kept[number - 10]
        kept.clear()

    return min(timeit.repeat(steps, number=1, repeat=20)) / 10_000 * 1e9
