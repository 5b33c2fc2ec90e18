"""Slots: the most urgent first, then who asked first; nothing lost when a caller gives up."""

from __future__ import annotations

import asyncio

import pytest

from weft.engines.base import Urgency
from weft.engines.slots import Slots


async def test_callers_are_served_in_the_order_of_asking() -> None:
    slots, served = Slots(1), []

    async def caller(number: int) -> None:
        await slots.take()
        served.append(number)
        await asyncio.sleep(0)
        slots.release()

    await asyncio.gather(*(caller(number) for number in range(5)))
    assert served == [0, 1, 2, 3, 4]
    assert (slots.held, slots.waiting) == (0, 0)


async def test_the_higher_priority_goes_first_then_the_earlier_deadline_then_age() -> None:
    slots, served = Slots(1), []
    await slots.take()

    async def caller(name: str, priority: int, deadline: float) -> None:
        await slots.take(Urgency.of(priority, deadline))
        served.append(name)
        slots.release()

    asked = [
        ("plain", 0, 0),
        ("plain too", 0, 0),
        ("due late", 0, 9.0),
        ("due soon", 0, 5.0),
        ("low", -1, 1.0),
        ("high", 7, 0),
    ]
    callers = [asyncio.create_task(caller(*each)) for each in asked]
    await asyncio.sleep(0)
    slots.release()
    await asyncio.gather(*callers)
    assert served == ["high", "due soon", "due late", "plain", "plain too", "low"]


async def test_a_caller_that_gives_up_while_waiting_leaves_the_queue() -> None:
    slots = Slots(1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slots.waiting == 0
    slots.release()
    assert slots.held == 0


async def test_a_slot_handed_to_a_caller_that_gives_up_goes_on_to_the_next() -> None:
    slots = Slots(1)
    await slots.take()
    first = asyncio.create_task(slots.take())
    second = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    slots.release()  # The slot is the first's now, but it has not run yet.
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(second, 1)
    assert (slots.held, slots.waiting) == (1, 0)


async def test_busy_seconds_are_the_integral_of_held_slots() -> None:
    now = 0.0
    slots = Slots(2, clock=lambda: now)
    await slots.take()
    now = 1.0
    await slots.take()
    now = 3.0
    slots.release()
    now = 4.0
    assert slots.busy_seconds == 6.0
    slots.release()
    now = 10.0
    assert slots.busy_seconds == 6.0


def test_no_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        Slots(0)


async def test_a_caller_that_gives_up_just_before_its_turn_is_cancelled_and_no_more() -> None:
    slots = Slots(1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    waiting.cancel()
    slots.release()  # Passes it over, before it has had the time to leave the queue.
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (slots.held, slots.waiting) == (0, 0)
