"""Slots: first come, first served; nothing lost when a caller gives up; busy time by the clock."""

from __future__ import annotations

import asyncio

import pytest

from weft.engines.slots import Slots


async def test_callers_are_served_in_the_order_of_asking() -> None:
    slots, served = Slots(1), []

    async def caller(number: int) -> None:
        async with slots:
            served.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(caller(number) for number in range(5)))
    assert served == [0, 1, 2, 3, 4]
    assert (slots.held, slots.waiting) == (0, 0)


async def test_a_caller_that_gives_up_while_waiting_leaves_the_queue() -> None:
    slots = Slots(1)
    async with slots:
        waiting = asyncio.create_task(slots.__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert slots.waiting == 0
    assert slots.held == 0


async def test_a_slot_handed_to_a_caller_that_gives_up_goes_on_to_the_next() -> None:
    slots = Slots(1)
    await slots.__aenter__()
    first = asyncio.create_task(slots.__aenter__())
    second = asyncio.create_task(slots.__aenter__())
    await asyncio.sleep(0)
    slots._release()  # The slot is the first's now, but it has not run yet.
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(second, 1)
    assert (slots.held, slots.waiting) == (1, 0)


async def test_busy_seconds_are_the_integral_of_held_slots() -> None:
    now = 0.0
    slots = Slots(2, clock=lambda: now)
    async with slots:
        now = 1.0
        async with slots:
            now = 3.0
        now = 4.0
        assert slots.busy_seconds == 6.0
    now = 10.0
    assert slots.busy_seconds == 6.0


def test_no_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        Slots(0)


async def test_a_caller_that_gives_up_just_before_its_turn_is_cancelled_and_no_more() -> None:
    slots = Slots(1)
    await slots.__aenter__()
    waiting = asyncio.create_task(slots.__aenter__())
    await asyncio.sleep(0)
    waiting.cancel()
    slots._release()  # Passes it over, before it has had the time to leave the queue.
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (slots.held, slots.waiting) == (0, 0)
