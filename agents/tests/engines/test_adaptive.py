"""The limits on calls to an endpoint, as a state machine driven through virtual time."""

from __future__ import annotations

import heapq
import math
from collections import deque
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.engines.adaptive import GENTLE, HARD, MOST, START, Adaptive, Outcome


def round_of_calls(adaptive: Adaptive, now: float, outcome: Outcome, *, count: int = 0) -> int:
    """Start as many calls as may start (or `count`), end them all a second later."""
    tickets = []
    while adaptive.wait(now) <= 0 and (not count or len(tickets) < count):
        tickets.append(adaptive.start(now))
    for ticket in tickets:
        adaptive.end(ticket, outcome, now + 1)
    return len(tickets)


def test_with_a_limit_of_the_users_it_starts_there_and_never_passes_it() -> None:
    adaptive = Adaptive(most=10)
    assert [round_of_calls(adaptive, second, Outcome.ANSWERED) for second in range(0, 20, 2)] == [
        10
    ] * 10


def test_without_one_it_grows_by_a_call_per_answer_until_the_first_refusal() -> None:
    adaptive = Adaptive()
    assert round_of_calls(adaptive, 0, Outcome.ANSWERED) == START
    assert START < adaptive.limit <= 2 * START
    for second in range(2, 60, 2):
        round_of_calls(adaptive, second, Outcome.ANSWERED)
    assert adaptive.limit == MOST


def test_a_limit_that_is_not_reached_does_not_grow() -> None:
    adaptive = Adaptive()
    for second in range(0, 100, 2):
        round_of_calls(adaptive, second, Outcome.ANSWERED, count=5)
    assert adaptive.limit == START


def test_a_round_of_refusals_shrinks_the_limit_once() -> None:
    adaptive = Adaptive()
    round_of_calls(adaptive, 0, Outcome.REFUSED)
    assert adaptive.limit == START * GENTLE


def test_time_outs_halve_it() -> None:
    adaptive = Adaptive()
    round_of_calls(adaptive, 0, Outcome.OVERLOADED)
    assert adaptive.limit == START * HARD


def test_after_a_refusal_it_grows_by_one_per_round() -> None:
    adaptive = Adaptive()
    round_of_calls(adaptive, 0, Outcome.REFUSED)
    before = adaptive.limit
    round_of_calls(adaptive, 2, Outcome.ANSWERED)
    assert before + 0.8 < adaptive.limit < before + 1.1


def test_refused_without_end_it_still_tries_one_call_at_a_time() -> None:
    adaptive = Adaptive()
    for second in range(0, 100, 2):
        round_of_calls(adaptive, second, Outcome.REFUSED)
    assert adaptive.limit == 1
    assert adaptive.wait(1000) == 0


def test_with_all_under_way_the_next_waits_for_one_to_end() -> None:
    adaptive = Adaptive(most=1)
    ticket = adaptive.start(0)
    assert adaptive.wait(0) == math.inf
    adaptive.end(ticket, Outcome.ANSWERED, 1)
    assert adaptive.wait(1) == 0


def test_a_pause_holds_and_is_never_shortened() -> None:
    adaptive = Adaptive()
    adaptive.pause(10)
    adaptive.pause(5)
    assert adaptive.wait(4) == 6
    assert adaptive.wait(10) == 0


def test_retry_after_pauses_all_only_where_nobody_gets_through() -> None:
    adaptive = Adaptive()
    first, second = adaptive.start(0), adaptive.start(0)
    adaptive.end(first, Outcome.REFUSED, 1, retry_after=30)
    adaptive.end(second, Outcome.REFUSED, 1, retry_after=30)
    assert adaptive.wait(1) == 0, "others that started before may yet be answered"
    adaptive.end(adaptive.start(2), Outcome.REFUSED, 3, retry_after=30)
    assert adaptive.wait(3) == 30


@pytest.mark.parametrize("outcome", [Outcome.ANSWERED, Outcome.OTHER])
def test_what_says_nothing_about_fullness_does_not_shrink(outcome: Outcome) -> None:
    adaptive = Adaptive()
    round_of_calls(adaptive, 0, outcome)
    assert adaptive.limit >= START


@settings(max_examples=60, deadline=None)
@given(
    per_minute=st.integers(1, 2000),
    gaps=st.lists(st.floats(0, 20), min_size=1, max_size=40),
)
def test_no_minute_has_more_calls_than_the_user_allows(per_minute: int, gaps: list[float]) -> None:
    adaptive = Adaptive(requests_per_minute=per_minute)
    now, starts = 0.0, []
    for gap in gaps:
        now += gap
        for _ in range(100):
            if (wait := adaptive.wait(now)) > 0:
                now += wait
            ticket = adaptive.start(now)
            starts.append(now)
            adaptive.end(ticket, Outcome.ANSWERED, now)
    window: deque[float] = deque()
    for start in starts:
        window.append(start)
        while window[0] <= start - 60 + 1e-6:
            window.popleft()
        assert len(window) <= per_minute + 1


def test_the_rate_is_used_up_and_not_only_kept() -> None:
    adaptive = Adaptive(requests_per_minute=600)
    now = 0.0
    for _ in range(1200):
        now += max(0.0, adaptive.wait(now))
        adaptive.end(adaptive.start(now), Outcome.ANSWERED, now)
    assert now < 124


@pytest.mark.parametrize("slots", [8, 64, 300])
def test_it_finds_an_endpoints_slots_and_keeps_them_busy(slots: int) -> None:
    """An endpoint that refuses what is over its slots, for ten virtual minutes."""
    adaptive, chance = Adaptive(), Random(1)
    ends: list[tuple[float, int, object]] = []
    now, busy, integral, number, last = 0.0, 0, 0.0, 0, 0.0
    while now < 600:
        while adaptive.wait(now) <= 0:
            ticket = adaptive.start(now)
            number += 1
            if busy < slots:
                busy += 1
                heapq.heappush(ends, (now + chance.lognormvariate(-1, 0.8), number, (ticket, True)))
            else:
                heapq.heappush(ends, (now + 0.002, number, (ticket, False)))
        now, _, (ticket, served) = heapq.heappop(ends)  # type: ignore[misc]
        if now > 60:
            integral += busy * (now - max(last, 60))
        last = now
        busy -= served
        adaptive.end(ticket, Outcome.ANSWERED if served else Outcome.REFUSED, now)
    assert integral / (540 * slots) > 0.93
