"""Virtual time: events in the order of their times, and of their making where times are equal."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Clock:
    """Runs one event after the other; `now` in seconds."""

    __slots__ = ("_events", "_made", "now", "stopped")

    def __init__(self) -> None:
        self.now = 0.0
        self.stopped = False
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._made = 0

    def after(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        """Call `call(*args)` in `delay` seconds."""
        self._made += 1
        heapq.heappush(self._events, (self.now + delay, self._made, call, args))

    def run(self, until: float) -> int:
        """Let time pass to `until`, or to the event that sets `stopped`. Returns how many events
        there were."""
        events = self._events
        count = 0
        while events and not self.stopped:
            at, _, call, args = events[0]
            if at > until:
                break
            heapq.heappop(events)
            self.now = at
            call(*args)
            count += 1
        return count
