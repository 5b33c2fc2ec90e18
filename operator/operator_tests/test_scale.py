"""Autoscaling by the depth of the inbox."""

from __future__ import annotations

from weft_api.pool import Autoscaling
from weft_operator.decide.scale import DOWN_SECONDS, UP_SECONDS, Memory, replicas
from weft_operator.facts import Instance

FORGETFUL = Memory()
SCALING = Autoscaling(min=1, max=8, target_inbox=10)


def agents(count: int, inbox: int) -> list[Instance]:
    return [Instance(f"a{n}", "r1", "serving", inbox, 0) for n in range(count)]


def look(
    current: int, inbox: int, seconds: float, memory: Memory = FORGETFUL
) -> tuple[int, Memory]:
    """Looks every 3 s for so long, with that many waiting per agent; (agents, memory)."""
    start = memory.wanted[-1][0] + 3 if memory.wanted else 1000.0
    for n in range(int(seconds / 3) + 1):
        before = current
        current, memory = replicas(SCALING, current, agents(before, inbox), memory, start + 3.0 * n)
        if current != before:
            break
    return current, memory


def test_a_short_rush_adds_nobody_and_one_that_lasts_does() -> None:
    assert look(2, 50, UP_SECONDS - 3)[0] == 2
    assert look(2, 50, UP_SECONDS + 3)[0] == 4, "at most twice as many in one step"
    assert look(6, 50, UP_SECONDS + 3)[0] == 8, "and never more than max"


def test_a_lull_takes_nobody_away_until_it_lasts() -> None:
    assert look(6, 0, DOWN_SECONDS - 3)[0] == 6
    assert look(6, 0, DOWN_SECONDS + 3)[0] == 1


def test_one_rush_within_the_window_keeps_the_agents() -> None:
    _, memory = look(6, 10, 6)
    assert look(6, 0, DOWN_SECONDS - 6, memory)[0] == 6


def test_about_the_target_is_the_target() -> None:
    assert look(4, 11, DOWN_SECONDS + 30)[0] == 4
    assert look(4, 9, DOWN_SECONDS + 30)[0] == 4


def test_without_a_word_from_the_head_nothing_changes_but_the_bounds_hold() -> None:
    assert replicas(SCALING, 5, None, Memory(), 0.0)[0] == 5
    assert replicas(SCALING, 50, None, Memory(), 0.0)[0] == 8
    assert replicas(SCALING, 0, [], Memory(), 0.0)[0] == 1


def test_the_memory_is_bounded() -> None:
    memory = Memory()
    for n in range(5000):
        _, memory = replicas(SCALING, 2, agents(2, 10), memory, n * 0.1)
    assert len(memory.wanted) <= 512
