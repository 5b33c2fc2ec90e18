"""An event loop whose clock jumps to the next thing that is due: minutes pass in milliseconds."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar
from unittest import mock

from weft_operator import act, companions, head_client, heads, keyed_queue, sweep

T = TypeVar("T")

START: Final = 1_800_000_000.0
LEAST: Final = 1e-6
"""Seconds that a turn of the loop takes: time that stands still would make a timer that is due in a
nanosecond due for ever."""
_MODULES: Final = (act, companions, head_client, heads, keyed_queue, sweep)
"""They read the clock themselves."""


class VirtualTime:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0
        """Small, or a loop's rounding would be lost in it."""

    def time(self) -> float:
        return START + self.now

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.time() * 1e9)


class _Skipping(selectors.SelectSelector):
    def __init__(self, clock: VirtualTime) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and for nothing that could come")
        found = super().select(0)
        if not found:
            self._clock.now += max(timeout, LEAST)
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualTime) -> None:
        super().__init__(_Skipping(clock))
        self._virtual = clock

    def time(self) -> float:
        return self._virtual.now


def run(main: Callable[[VirtualTime], Coroutine[Any, Any, T]], *, seed: int = 0) -> T:
    """Runs to its end. The same seed gives the same run."""
    clock = VirtualTime()
    random.seed(seed)
    with asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner, _clocks(clock):
        return runner.run(main(clock))


class _clocks:  # noqa: N801: a context manager
    def __init__(self, clock: VirtualTime) -> None:
        self._patches = [mock.patch.object(module, "time", clock) for module in _MODULES]

    def __enter__(self) -> None:
        for patch in self._patches:
            patch.start()

    def __exit__(self, *_: object) -> None:
        for patch in self._patches:
            patch.stop()
