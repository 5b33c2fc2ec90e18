"""Callers that wait for an engine: the most urgent has the next turn, then who has waited longest.

asyncio only; not thread-safe. Bounded by the callers, who wait.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import Generic, TypeVar

from weft.engines.base import Urgency

T = TypeVar("T")


class Turns(Generic[T]):
    """Each caller awaits the future that `join` gives it; whoever has a turn to give sets it on
    the future that `next` gives. A caller that gives up has to `leave`."""

    __slots__ = ("_age", "_waiting")

    def __init__(self) -> None:
        self._age = 0
        self._waiting: list[tuple[Urgency, bool, int, asyncio.Future[T]]] = []

    def __len__(self) -> int:
        """Callers that wait."""
        return len(self._waiting)

    def join(self, urgency: Urgency, *, again: bool = False) -> asyncio.Future[T]:
        """`again`: it has had a turn before, in vain, and goes before others of its urgency."""
        turn: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._age += 1
        heapq.heappush(self._waiting, (urgency, not again, self._age, turn))
        return turn

    def leave(self, turn: asyncio.Future[T]) -> None:
        """It waits no longer; of no effect where its turn has come, or was passed over."""
        left = [entry for entry in self._waiting if entry[3] is not turn]
        if len(left) < len(self._waiting):
            heapq.heapify(left)
            self._waiting = left

    def next(self) -> asyncio.Future[T] | None:
        """Who is first, taken out; None where nobody waits."""
        while self._waiting:
            turn = heapq.heappop(self._waiting)[3]
            if not turn.done():
                return turn
        return None
