"""Finite slots with a queue in front, and how busy they were. asyncio only; not thread-safe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from weft.engines.base import ROUTINE, Urgency
from weft.engines.turns import Turns


class Slots:
    """`count` slots; the most urgent of those who wait gets the next, then who asked first.

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
        self._waiting: Turns[None] = Turns()

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

    async def take(self, urgency: Urgency = ROUTINE) -> None:
        """Wait for a slot and hold it; `release` must follow."""
        if self._held < self.count:
            self._hold(+1)
            return
        turn = self._waiting.join(urgency)
        try:
            await turn
        except asyncio.CancelledError:
            # Either the slot was handed over already and must go on, or we leave the queue.
            if turn.done() and not turn.cancelled():
                self.release()
            else:
                self._waiting.leave(turn)
            raise

    def release(self) -> None:
        """Let go of a slot; the first of those who wait has it."""
        if (turn := self._waiting.next()) is not None:
            turn.set_result(None)  # The slot passes on without falling free in between.
        else:
            self._hold(-1)

    def _hold(self, change: int) -> None:
        now = self._clock()
        self._integral += self._held * (now - self._since)
        self._since = now
        self._held += change
