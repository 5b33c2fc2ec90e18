"""What people write by hand: an asyncio pool, and batches with a barrier, each row three chained
calls of an OpenAI-compatible endpoint. No retries, no commits, no order: no guarantees at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from weft.bench.processes import DRIVER

One = Callable[[int], Awaitable[None]]


class Spent(msgspec.Struct):
    """`exhausted`, `ended`: Unix times; `cpu`: seconds by role of process."""

    exhausted: float
    ended: float
    cpu: dict[str, float]


async def pool(url: str, rows: int, slots: int, steps: tuple[str, ...], text: str) -> Spent:
    """As many workers as slots, each a row at a time."""
    left, exhausted = iter(range(rows)), 0.0

    async def worker(one: One) -> None:
        nonlocal exhausted
        for number in left:
            exhausted = time.time()
            await one(number)

    cpu = time.process_time()
    async with _chain(url, steps, text) as one:
        await asyncio.gather(*(worker(one) for _ in range(slots)))
    return Spent(exhausted, time.time(), {DRIVER: time.process_time() - cpu})


async def barrier(url: str, rows: int, slots: int, steps: tuple[str, ...], text: str) -> Spent:
    """Batches of as many rows as slots; the next begins when the last row of one has ended."""
    exhausted, cpu = 0.0, time.process_time()
    async with _chain(url, steps, text) as one:
        for start in range(0, rows, slots):
            exhausted = time.time()
            batch = range(start, min(start + slots, rows))
            await asyncio.gather(*(one(number) for number in batch))
    return Spent(exhausted, time.time(), {DRIVER: time.process_time() - cpu})


@asynccontextmanager
async def _chain(url: str, steps: tuple[str, ...], text: str) -> AsyncIterator[One]:
    """`await one(number)` makes a row's calls, each about the last reply."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one(number: int) -> None:
            said = text.format(number=number)
            for step in steps:
                body = {
                    "model": "fake",
                    "messages": [{"role": "user", "content": f"{step}: {said}"}],
                    "max_tokens": 60,
                    "seed": number,
                }
                async with session.post(
                    f"{url}/chat/completions",
                    data=msgspec.json.encode(body),
                    headers={"Content-Type": "application/json"},
                ) as answer:
                    reply = msgspec.json.decode(await answer.read())
                said = reply["choices"][0]["message"]["content"]

        yield one
