"""Messages that wait to be handled: urgent first, then by deadline, then by age; and the fence."""

from __future__ import annotations

import heapq
import math
from collections import deque

import msgspec

from weft.protocol.message import Lane, Message
from weft.protocol.outbox import Parent


class Work(msgspec.Struct, gc=False, eq=False):
    """A message in this process's hands."""

    message: Message
    parent: Parent | None
    """Whom to tell when it has been passed on; None where its sender has been told, or is dead."""
    lane: Lane
    tag: int
    """With which it was admitted to the lane."""
    branches: tuple[Work, ...] = ()
    """Of a row that was joined: what it was joined of, first the row itself as it was divided."""


class Inbox:
    """A heap on (priority, deadline, age) for those that have one of the two first, and a queue for
    the many that have neither: where all are like that, a heap would take a tenth of a hop."""

    __slots__ = ("_age", "_heap", "_plain")

    def __init__(self) -> None:
        self._age = 0
        self._heap: list[tuple[int, float, int, Work]] = []
        self._plain: deque[Work] = deque()

    def __len__(self) -> int:
        return len(self._heap) + len(self._plain)

    def push(self, work: Work) -> None:
        message = work.message
        if not (message.priority or message.deadline):
            self._plain.append(work)
            return
        self._age += 1
        heapq.heappush(
            self._heap, (-message.priority, message.deadline or math.inf, self._age, work)
        )

    def pop(self) -> Work | None:
        """The most urgent, or None."""
        plain, heap = self._plain, self._heap
        # Of the plain ones' priority are those with a deadline, which go first.
        if heap and (heap[0][0] <= 0 or not plain):
            return heapq.heappop(heap)[3]
        return plain.popleft() if plain else None

    def works(self) -> list[Work]:
        return [*self._plain, *(entry[3] for entry in self._heap)]


class Fence:
    """The highest tag seen per row or branch: nothing lower or equal is ever accepted again here.

    Bounded: at most `limit` are kept, the half of them that moved last surely. Forgetting costs
    work (a stale lineage may run on), never correctness, because the writer has the last word.

    In two generations, of which the older is forgotten as a whole: taking the oldest out of one
    dict, one by one, costs three times as much, since looking for it passes all the gaps.
    """

    __slots__ = ("_generation", "_old", "_young")

    def __init__(self, limit: int) -> None:
        self._generation = max(1, limit // 2)
        self._old: dict[Lane, int] = {}
        self._young: dict[Lane, int] = {}

    def __len__(self) -> int:
        return len(self._old.keys() | self._young.keys())

    def admit(self, lane: Lane, tag: int) -> bool:
        """Whether `tag` is higher than all seen in this lane; if so it is the new mark."""
        young = self._young
        seen = young.get(lane)
        if seen is None:
            seen = self._old.get(lane, -1)
        if tag <= seen:
            return False
        young[lane] = tag
        if len(young) >= self._generation:
            self._old, self._young = young, {}
        return True

    def passed(self, lane: Lane, tag: int) -> bool:
        """Whether a higher tag than this has been seen: the work on it is vain."""
        seen = self._young.get(lane)
        if seen is None:
            seen = self._old.get(lane, -1)
        return seen > tag
