"""A queue of keys: each at most once in it, and never in two workers at the same time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from weft_operator.facts import Key
from weft_operator.metrics import QUEUE_DEPTH, QUEUE_SECONDS

log = logging.getLogger(__name__)

FIRST_BACK_OFF: Final = 0.5
LONGEST_BACK_OFF: Final = 60.0
TIMER_SLACK: Final = 5.0
"""How long what was put off may give way to what has just happened."""


class KeyedQueue:
    """Bounded by the number of keys that exist: adding one that waits already changes nothing.

    `work` returns the seconds after which it wants the key again (None: only when something
    happens). When it raises, the key comes again by itself, each time later.
    """

    def __init__(self, work: Callable[[Key], Awaitable[float | None]], workers: int) -> None:
        self._work = work
        self._workers = workers
        self._ready: asyncio.PriorityQueue[tuple[float, int, Key]] = asyncio.PriorityQueue()
        self._deadline: dict[Key, float] = {}
        self._since: dict[Key, float] = {}
        """Keys that wait in `_ready`, and since when."""
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        """Keys that came up while they were being worked on."""
        self._due: dict[Key, float] = {}
        self._timers: list[tuple[float, int, Key]] = []
        self._count = itertools.count()
        self._wake = asyncio.Event()
        self._failures: dict[Key, int] = {}

    def add(self, key: Key, slack: float = 0.0) -> None:
        """The earliest deadline goes first, and that is `slack` seconds from now: so reports give
        way to people's changes for a while, and not for ever."""
        if key in self._busy:
            self._again.add(key)
            return
        now = time.monotonic()
        if now + slack < self._deadline.get(key, float("inf")):
            self._deadline[key] = now + slack
            self._since.setdefault(key, now)
            self._ready.put_nowait((now + slack, next(self._count), key))
            QUEUE_DEPTH.set(len(self._since))

    def add_after(self, key: Key, seconds: float) -> None:
        """At once for 0."""
        if seconds > 0:
            self.add_later(key, seconds)
        else:
            self.add(key)

    def add_later(self, key: Key, seconds: float) -> None:
        """The earliest of several times counts."""
        at = time.monotonic() + seconds
        if at < self._due.get(key, float("inf")):
            self._due[key] = at
            heapq.heappush(self._timers, (at, next(self._count), key))
            self._wake.set()

    def forget(self, key: Key) -> None:
        self._failures.pop(key, None)
        self._due.pop(key, None)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_timers())
            for _ in range(self._workers):
                tasks.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            deadline, _, key = await self._ready.get()
            if self._deadline.get(key) != deadline:
                continue  # it has been given an earlier one, and its turn
            del self._deadline[key]
            QUEUE_SECONDS.observe(time.monotonic() - self._since.pop(key))
            QUEUE_DEPTH.set(len(self._since))
            self._busy.add(key)
            try:
                again = await self._work(key)
            except Exception:
                self._failed(key)
            else:
                self._failures.pop(key, None)
                if again is not None:
                    self.add_later(key, again)
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    def _failed(self, key: Key) -> None:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        pause = min(FIRST_BACK_OFF * 2.0 ** min(count, 10), LONGEST_BACK_OFF)
        log.exception("reconcile of %s/%s failed; again in %.1f s", *key, pause)
        self.add_later(key, pause * random.uniform(0.8, 1.2))

    async def _watch_timers(self) -> None:
        while True:
            self._wake.clear()
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                at, _, key = heapq.heappop(self._timers)
                if self._due.get(key) == at:
                    del self._due[key]
                    self.add(key, TIMER_SLACK)
            pause = self._timers[0][0] - now if self._timers else None
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                continue
