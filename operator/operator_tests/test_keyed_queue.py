"""The queue of pipelines to reconcile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from weft_operator import keyed_queue
from weft_operator.facts import Key
from weft_operator.keyed_queue import KeyedQueue

A: Key = ("team", "a")


@contextlib.asynccontextmanager
async def running(
    work: Callable[[Key], Awaitable[float | None]], workers: int = 4
) -> AsyncIterator[KeyedQueue]:
    queue = KeyedQueue(work, workers)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_burst_of_events_is_one_reconcile() -> None:
    done: list[Key] = []

    async def work(key: Key) -> None:
        done.append(key)

    queue = KeyedQueue(work, 4)
    for _ in range(100):
        queue.add(A)
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(0.05)
    task.cancel()
    assert done == [A]


async def test_a_key_is_never_in_two_workers_and_what_came_meanwhile_is_not_lost() -> None:
    at_once = most = rounds = 0

    async def work(key: Key) -> None:
        nonlocal at_once, most, rounds
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        rounds += 1

    async with running(work) as queue:
        queue.add(A)
        await asyncio.sleep(0.005)
        queue.add(A)
        queue.add(A)
        await asyncio.sleep(0.1)
    assert most == 1
    assert rounds == 2


async def test_a_failure_comes_again_later_each_time(monkeypatch: object) -> None:
    keyed_queue.log.disabled = True
    times: list[float] = []
    loop = asyncio.get_running_loop()

    async def work(key: Key) -> None:
        times.append(loop.time())
        if len(times) < 3:
            raise RuntimeError("not yet")

    async with running(work) as queue:
        queue.add(A)
        await asyncio.sleep(2.2)
    keyed_queue.log.disabled = False
    assert len(times) == 3
    assert 0.3 < times[1] - times[0] < times[2] - times[1]


async def test_the_earliest_of_several_times_counts() -> None:
    done = asyncio.Event()

    async def work(key: Key) -> None:
        done.set()

    async with running(work) as queue:
        queue.add_later(A, 60.0)
        queue.add_later(A, 0.05)
        await asyncio.wait_for(done.wait(), 1.0)


async def test_a_slow_pipeline_stops_no_other() -> None:
    done: list[Key] = []

    async def work(key: Key) -> None:
        if key == A:
            await asyncio.sleep(60)
        done.append(key)

    async with running(work, workers=2) as queue:
        queue.add(A)
        for n in range(20):
            queue.add(("team", f"b{n}"))
        await asyncio.sleep(0.1)
    assert len(done) == 20


async def test_what_just_happened_goes_before_what_was_put_off() -> None:
    done: list[str] = []

    async def work(key: Key) -> None:
        done.append(key[1])

    queue = KeyedQueue(work, workers=1)
    queue.add(("team", "report"), slack=5.0)
    queue.add(("team", "new"))
    queue.add(("team", "other report"), slack=4.0)
    queue.add(("team", "report"))  # now it is urgent itself, and still comes once
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(0.05)
    task.cancel()
    assert done == ["new", "report", "other report"]
