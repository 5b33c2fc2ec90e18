"""Finite slots with a first-come queue, and how busy they were.

asyncio only; not thread-safe. What is queued is bounded by the callers, who wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from time import monotonic
from types import TracebackType


class Slots:
    """`async with slots:` holds one of `count` slots, in the order of asking.

    `busy_seconds` is the integral of held slots over time, so a window's busy share is its growth
    over the window divided by `count` times the window's length. `clock` returns seconds.
    """

    __slots__ = ("_clock", "_held", "_integral", "_since", "_waiting", "count")

    def __init__(self, count: int, *, clock: Callable[[], float] = monotonic) -> None:
        if count < 1:
            raise ValueError(f"slots: {count} is none; give 1 or more")
        self.count = count
        self._clock = clock
        self._held = 0
        self._integral = 0.0
        self._since = clock()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def held(self) -> int:
        """Slots held now."""
        return self._held

    @property
    def waiting(self) -> int:
        """Callers in the queue now."""
        return len(self._waiting)

    @property
    def busy_seconds(self) -> float:
        """Slot-seconds held so far, those under way included."""
        return self._integral + self._held * (self._clock() - self._since)

    async def __aenter__(self) -> Slots:
        if self._held < self.count:
            self._hold(+1)
            return self
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # Either the slot was handed over already and must go on, or we leave the queue.
            if turn.done() and not turn.cancelled():
                self._release()
            else:
                # A slot that fell free since the cancellation has passed this turn over already.
                with contextlib.suppress(ValueError):
                    self._waiting.remove(turn)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def _release(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # The slot passes on without falling free in between.
                return
        self._hold(-1)

    def _hold(self, change: int) -> None:
        now = self._clock()
        self._integral += self._held * (now - self._since)
        self._since = now
        self._held += change
