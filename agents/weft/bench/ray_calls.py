"""The same hops as calls of Ray actors, without guarantees: what our own transport stands beside.

Four actors in a ring decode a row, append a turn, encode it and hand it on, eight times a row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import ray

from weft.bench.plans import ECHOES, HOPS
from weft.bench.processes import Processes, spent
from weft.row import ChatMessage, Row, decode_row, encode_row
from weft.runtime.local import start_ray

GIVEN_UP = 300.0
"""Seconds that a measurement may take."""
TEXT = "The quick brown fox jumps over the lazy dog; it does so again. " * 20


class Ring:
    """One of the four. The last counts the rows that have made their hops."""

    def __init__(self, chars: int) -> None:
        self._chars = chars
        self._next: Any = None
        self._left = 0
        self._fresh: Iterator[bytes] = iter(())
        self._first: list[bytes] = []
        self._done = asyncio.Event()

    async def join(self, after: Any, rows: int, in_flight: int) -> None:
        """`rows`: how many the first of the ring issues, `in_flight` of them at first and then one
        for each that has made its hops."""
        self._next = after
        self._left = rows
        self._fresh = iter(_bodies(rows))
        self._first = list(islice(self._fresh, in_flight))
        self._done.clear()

    async def begin(self, batch: int) -> None:
        for start in range(0, len(self._first), batch):
            await self.pass_on(self._first[start : start + batch])
        await self._done.wait()

    async def hop(self, body: bytes) -> bytes:
        """One row, for a central loop."""
        return self._turned(decode_row(body))

    async def pass_on(self, bodies: list[bytes]) -> None:
        """A batch of rows, handed to the next actor without waiting for it."""
        turned = []
        for body in bodies:
            row = decode_row(body)
            if len(row.messages) == HOPS:
                self._left -= 1
                if (fresh := next(self._fresh, None)) is None:
                    continue
                row = decode_row(fresh)
            turned.append(self._turned(row))
        if turned:
            self._next.pass_on.remote(turned)
        if self._left == 0:
            self._done.set()

    def _turned(self, row: Row) -> bytes:
        turns = len(row.messages)
        least = self._chars * 4 // 5
        length = least + (turns * 2654435761 + int(row.id) * 40503) % (self._chars * 2 // 5)
        row.messages.append(ChatMessage("assistant" if turns % 2 else "user", TEXT[:length]))
        row.data["turns"] = turns + 1
        return encode_row(row)


class Calls:
    """A Ray with the four actors; use as a context manager."""

    def __init__(self, chars: int) -> None:
        self._chars = chars
        self._actors: list[Any] = []

    def __enter__(self) -> Calls:
        start_ray("bench")
        kind = ray.remote(Ring).options(num_cpus=0, enable_task_events=False)
        self._actors = [kind.remote(self._chars) for _ in ECHOES]
        self._join(0, 0)
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()

    def batched(self, rows: int, batch: int, in_flight: int) -> tuple[float, float]:
        """Hops a second, and CPU microseconds a hop, of all processes."""
        self._join(rows, in_flight)
        processes = Processes()
        before, began = processes.cpu(), time.perf_counter()
        ray.get(self._actors[0].begin.remote(batch), timeout=GIVEN_UP)
        return _figures(rows, began, before, processes)

    def central(self, rows: int, in_flight: int) -> tuple[float, float]:
        """One loop that calls an actor for each hop of each row."""
        bodies = iter(_bodies(rows))

        async def row_by_row() -> None:
            for body in bodies:
                for hop in range(HOPS):
                    body = await self._actors[hop % len(self._actors)].hop.remote(body)

        async def all_rows() -> None:
            await asyncio.gather(*(row_by_row() for _ in range(in_flight)))

        processes = Processes()
        before, began = processes.cpu(), time.perf_counter()
        asyncio.run(all_rows())
        return _figures(rows, began, before, processes)

    def _join(self, rows: int, in_flight: int) -> None:
        following = [*self._actors[1:], self._actors[0]]
        ray.get(
            [
                actor.join.remote(after, rows, in_flight)
                for actor, after in zip(self._actors, following, strict=True)
            ]
        )


def _bodies(rows: int) -> list[bytes]:
    return [encode_row(Row(str(number), {"index": number})) for number in range(rows)]


def _figures(
    rows: int, began: float, before: dict[int, float], processes: Processes
) -> tuple[float, float]:
    seconds = time.perf_counter() - began
    cpu = sum(spent(before, processes.cpu()).values())
    return rows * HOPS / seconds, 1e6 * cpu / (rows * HOPS)
