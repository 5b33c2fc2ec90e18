"""The small machines one by one, as tables."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.protocol.committed import ORDINAL_BITS, CommittedRows
from weft.protocol.directory import COUNTER_BITS, Directory, Joining
from weft.protocol.inbox import Fence, Inbox, Work
from weft.protocol.message import Message
from weft.protocol.router import HOME_SLACK, choose
from weft.protocol.view import Member, View


def work(row: int, priority: int = 0, deadline: float = 0.0) -> Work:
    message = Message(row, 1, 0, 0, "a", 0, b"", priority=priority, deadline=deadline)
    return Work(message, None, message.lane, message.tag)


# the inbox


@pytest.mark.parametrize(
    ("pushed", "popped"),
    [
        ([(1, 0, 0), (2, 0, 0)], [1, 2]),
        ([(1, 0, 0), (2, 5, 0)], [2, 1]),
        ([(1, 0, 0), (2, 0, 9.0)], [2, 1]),
        ([(1, 0, 9.0), (2, 0, 3.0)], [2, 1]),
        ([(1, 1, 9.0), (2, 2, 0), (3, 1, 3.0)], [2, 3, 1]),
    ],
)
def test_urgent_comes_first_then_the_deadline_then_age(
    pushed: list[tuple[int, int, float]], popped: list[int]
) -> None:
    inbox = Inbox()
    for row, priority, deadline in pushed:
        inbox.push(work(row, priority, deadline))
    assert [inbox.pop().message.row for _ in popped] == popped  # type: ignore[union-attr]
    assert inbox.pop() is None


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(0, 5))))
def test_the_inbox_is_a_stable_sort(items: list[tuple[int, float]]) -> None:
    inbox = Inbox()
    for row, (priority, deadline) in enumerate(items):
        inbox.push(work(row, priority, deadline))
    expected = sorted(
        range(len(items)), key=lambda row: (-items[row][0], items[row][1] or math.inf)
    )
    assert [inbox.pop().message.row for _ in items] == expected  # type: ignore[union-attr]


# the fence


def test_a_row_is_admitted_only_with_a_higher_tag() -> None:
    fence = Fence(10)
    assert fence.admit(1, 5)
    assert not fence.admit(1, 5)
    assert not fence.admit(1, 4)
    assert fence.admit(1, 6)
    assert fence.passed(1, 5)
    assert not fence.passed(1, 6)
    assert not fence.passed(2, 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=200))
def test_the_fence_is_bounded_and_remembers_the_half_that_moved_last(
    arrivals: list[tuple[int, int]],
) -> None:
    fence = Fence(8)
    marks: dict[int, int] = {}
    for row, tag in arrivals:
        if fence.admit(row, tag):
            marks.pop(row, None)
            marks[row] = tag
        assert len(fence) <= 8
    for row, tag in list(marks.items())[-4:]:
        assert not fence.passed(row, tag)
        assert fence.passed(row, tag - 1)


@given(
    st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 19), st.integers(0, 1 << 19)),
    st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 19), st.integers(0, 1 << 19)),
)
def test_tags_compare_as_epoch_then_fork_then_hop(
    a: tuple[int, int, int], b: tuple[int, int, int]
) -> None:
    tags = [Message(0, *parts, "a", 0, b"").tag for parts in (a, b)]
    assert (tags[0] < tags[1]) == (a < b)


# the router


def member(incarnation: int, weight: int = 1) -> Member:
    return Member(incarnation, "agent", "", "", step="a", weight=weight)


@pytest.mark.parametrize(
    ("home", "loads", "weights", "chosen"),
    [
        (0, {1: 0, 2: 5}, {1: 1, 2: 1}, {1}),
        (2, {1: 0, 2: HOME_SLACK}, {1: 1, 2: 1}, {2}),
        (2, {1: 0, 2: HOME_SLACK + 1}, {1: 1, 2: 1}, {1}),
        (9, {1: 3, 2: 5}, {1: 1, 2: 1}, {1}),
        (0, {1: 4, 2: 6}, {1: 1, 2: 2}, {2}),
        (0, {1: 9, 2: 0}, {1: 1, 2: 0}, {1}),
        (2, {1: 0, 2: 0}, {1: 1, 2: 0}, {2}),
        (0, {1: 0, 2: 0}, {1: 0, 2: 0}, {1, 2}),
    ],
)
def test_the_router_weighs_load_and_home(
    home: int, loads: dict[int, int], weights: dict[int, int], chosen: set[int]
) -> None:
    members = [member(i, weights[i]) for i in loads]
    found = {choose(members, home, loads.__getitem__, random.Random(n)) for n in range(40)}
    assert found == chosen


def test_two_choices_keep_the_loads_close() -> None:
    loads = dict.fromkeys(range(1, 11), 0)
    rng = random.Random(1)
    members = [member(i) for i in loads]
    for _ in range(10_000):
        loads[choose(members, 0, loads.__getitem__, rng)] += 1
    assert max(loads.values()) - min(loads.values()) < 20


# what is committed


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5000), st.sampled_from("ard"))))
def test_the_first_end_of_a_row_stands(ends: list[tuple[int, int, str]]) -> None:
    statuses = {"a": "accepted", "r": "rejected", "d": "dead"}
    committed = CommittedRows()
    expected: dict[int, str] = {}
    for partition, ordinal, letter in ends:
        row = partition << ORDINAL_BITS | ordinal
        assert committed.add(row, statuses[letter]) == (row not in expected)
        expected.setdefault(row, statuses[letter])
    for row, status in expected.items():
        assert committed.status(row) == status
        assert row in committed
    assert len(committed) == len(expected)
    assert sum(committed.counts.values()) == len(expected)
    assert committed.status(9 << ORDINAL_BITS) == ""


# the directory


def directory(*, generation: int = 1, grace: float = 0.0, writers: int = 1) -> Directory:
    return Directory(
        generation=generation,
        lease=4.0,
        now=0.0,
        grace=grace,
        writers=writers,
        writer_partitions=4,
    )


def agent(**more: object) -> Joining:
    return Joining("agent", "n", "", step="a", **more)  # type: ignore[arg-type]


def writer(**more: object) -> Joining:
    return Joining("writer", "w", "", **more)  # type: ignore[arg-type]


def view_of(registry: Directory, now: float = 0.0) -> View:
    view = registry.view(now)
    assert view is not None
    return view


def test_incarnations_rise_over_the_generations() -> None:
    numbers = []
    for generation in (1, 2, 3):
        registry = directory(generation=generation)
        numbers += [registry.join(agent(), 0.0).incarnation for _ in range(3)]  # type: ignore[union-attr]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == (1 << COUNTER_BITS) + 1


def test_a_lease_that_is_not_renewed_runs_out_and_that_is_for_ever() -> None:
    registry = directory()
    one = registry.join(agent(), 0.0)
    two = registry.join(agent(), 0.0)
    assert one is not None
    assert two is not None
    for tick in range(6):
        assert registry.heartbeat(one.incarnation, float(tick))
        registry.tick(float(tick))
    view = view_of(registry, 6.0)
    assert [m.incarnation for m in view.members] == [one.incarnation]
    assert view.is_dead(two.incarnation)
    assert not registry.heartbeat(two.incarnation, 6.0)
    assert registry.join(agent(incarnation=two.incarnation), 6.0) is None


def test_a_view_gets_a_new_number_only_when_something_has_changed() -> None:
    registry = directory()
    one = registry.join(agent(), 0.0)
    assert one is not None
    first = view_of(registry)
    registry.heartbeat(one.incarnation, 1.0)
    registry.change(one.incarnation, draining=False)
    assert view_of(registry, 1.0) is first
    registry.change(one.incarnation, draining=True)
    second = view_of(registry, 1.0)
    assert second.version > first.version
    assert second.members[0].draining


def test_a_directory_that_slept_does_not_declare_everyone_dead() -> None:
    registry = directory()
    one = registry.join(agent(), 0.0)
    assert one is not None
    registry.tick(1.0)
    assert registry.tick(20.0) == []
    assert registry.heartbeat(one.incarnation, 20.5)
    for tick in range(21, 26):
        registry.tick(float(tick))
    assert view_of(registry, 26.0).is_dead(one.incarnation)


def test_who_does_not_come_back_within_the_grace_of_a_new_directory_is_dead() -> None:
    old = directory()
    early, late = (old.join(agent(), 0.0) for _ in range(2))
    assert early is not None
    assert late is not None
    new = directory(generation=2, grace=3.0)
    assert new.join(agent(incarnation=early.incarnation), 1.0) is not None
    assert new.view(2.9) is None
    view = view_of(new, 3.0)
    assert [m.incarnation for m in view.members] == [early.incarnation]
    assert view.is_dead(late.incarnation)
    assert new.join(agent(incarnation=late.incarnation), 3.1) is None


@pytest.mark.parametrize("zombie_first", [True, False])
def test_the_dead_of_the_old_directory_stay_dead_under_the_new_one(zombie_first: bool) -> None:
    old = directory()
    alive, dead = (old.join(agent(), 0.0) for _ in range(2))
    assert alive is not None
    assert dead is not None
    old.leave(dead.incarnation)
    seen = view_of(old)
    new = directory(generation=2, grace=3.0)
    zombie = agent(incarnation=dead.incarnation)
    if zombie_first:
        assert new.join(zombie, 0.5) is not None
    assert new.join(agent(incarnation=alive.incarnation, view=seen), 1.0) is not None
    if not zombie_first:
        assert new.join(zombie, 1.5) is None
    assert view_of(new, 3.0).is_dead(dead.incarnation)


def test_joining_again_keeps_what_the_directory_was_told_meanwhile() -> None:
    registry = directory()
    one = registry.join(agent(), 0.0)
    assert one is not None
    registry.change(one.incarnation, draining=True, weight=3)
    again = registry.join(agent(incarnation=one.incarnation), 1.0)
    assert again is not None
    assert (again.draining, again.weight) == (True, 3)


def test_no_partition_has_two_writers() -> None:
    registry = directory(writers=2)
    one, two, three = (registry.join(writer(), 0.0) for _ in range(3))
    assert one is not None
    assert two is not None
    assert three is None
    assert sorted(one.partitions + two.partitions) == [0, 1, 2, 3]
    registry.leave(one.incarnation)
    four = registry.join(writer(), 1.0)
    assert four is not None
    assert four.partitions == one.partitions


def test_no_seat_is_given_away_while_its_writer_may_still_come_back() -> None:
    old = directory()
    one = old.join(writer(), 0.0)
    assert one is not None
    new = directory(generation=2, grace=3.0)
    assert new.join(writer(), 1.0) is None
    back = writer(incarnation=one.incarnation, partitions=one.partitions)
    assert new.join(back, 2.0) is not None
    assert new.join(writer(), 4.0) is None


def test_the_highest_incarnation_covers_those_that_are_gone() -> None:
    registry = directory()
    one = registry.join(agent(), 0.0)
    assert one is not None
    registry.leave(one.incarnation)
    view = view_of(registry)
    assert view.is_dead(one.incarnation)
    assert not view.is_dead(one.incarnation + 1)
