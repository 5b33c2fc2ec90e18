"""Conditions: what they give, what they cost, and what they say when they cannot answer."""

from __future__ import annotations

import timeit

import pytest

from weft.flow.conditions import (
    MEMO_ENTRIES,
    Condition,
    ConditionError,
    Deadline,
    Priority,
    only_presence,
)
from weft.row import ChatMessage, Row, ToolCall


def row(**data: object) -> Row:
    return Row("r1", {"question": "Why?", "urgent": True, "stars": 4}, dict(data))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("row.question == 'Why?'", True),
        ("row.urgent", True),
        ("row.stars > 3.5", True),
        ("row.id == 'r1'", True),
        ("row['stars'] in [4, 5]", True),
        ("has(row.verdict)", False),
        ("has(row.verdict) && row.verdict == 'x'", False),
        ("!has(row.tool_calls) && size(row.messages) == 0", True),
        ("size(row) > 3", True),
        ("row.question.startsWith('W') ? row.stars < 5 : false", True),
    ],
)
def test_a_condition_sees_columns_fields_and_the_rows_own_names(
    source: str, expected: bool
) -> None:
    assert Condition(source).holds(row()) is expected


def test_a_field_hides_the_column_of_its_name() -> None:
    assert Condition("row.stars == 1").holds(row(stars=1))


def test_pending_tool_calls_are_seen_until_they_are_answered() -> None:
    condition = Condition("has(row.tool_calls)")
    given = row()
    given.messages.append(ChatMessage("assistant", "", [ToolCall("c1", "look")]))
    assert condition.holds(given)
    given.messages.append(ChatMessage("tool", "{}", tool_call_id="c1"))
    assert not condition.holds(given)


def test_tool_calls_within_messages_can_be_asked_for() -> None:
    given = row()
    given.messages.append(ChatMessage("assistant", "", [ToolCall("c1", "look")]))
    assert Condition("row.messages[0].tool_calls[0].name == 'look'").holds(given)


def test_outcomes_that_are_remembered_keep_kinds_of_value_apart() -> None:
    condition = Condition("row.x == true")
    assert condition.holds(row(x=True))
    assert not condition.holds(row(x=1))
    assert not condition.holds(row(x=1.0))
    assert condition.holds(row(x=True))


def test_a_field_that_is_asked_after_and_read_is_not_remembered_by_its_presence_alone() -> None:
    condition = Condition("has(row.x) && row.x == 'a'")
    assert condition.holds(row(x="a"))
    assert not condition.holds(row(x="b"))
    assert not condition.holds(row())


def test_the_memory_of_outcomes_is_bounded() -> None:
    condition = Condition("row.n > 5")
    for n in range(3 * MEMO_ENTRIES):
        assert condition.holds(row(n=n)) is (n > 5)
    assert len(condition._memo) <= MEMO_ENTRIES


def test_only_presence_counts_names_that_are_nowhere_read() -> None:
    assert only_presence("has(row.a) && has(row.b) && row.b == 1") == {"a"}
    assert only_presence("has( row . a ) || size(row) > 1") == frozenset()


def test_a_condition_on_a_verdict_costs_less_than_12_microseconds_beside_a_long_dialogue() -> None:
    given = row(verdict="revise", revisions=1)
    given.messages.extend(ChatMessage("user", "x" * 1000) for _ in range(500))
    condition = Condition("row.verdict == 'revise' && row.revisions < 3")
    assert condition.holds(given)
    best = min(timeit.repeat(lambda: condition.holds(given), number=500, repeat=5)) / 500
    assert best < 12e-6


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("row.verdict == 'x'", "no `verdict` in this row"),
        ("row.question", "gives text, not true or false"),
        ("row.stars > 'a'", "`row.stars > 'a'`: No such overload"),
        ("1 / (row.stars - 4) == 1", "division by zero"),
    ],
)
def test_a_condition_that_has_no_answer_says_so_in_one_line(source: str, told: str) -> None:
    with pytest.raises(ConditionError) as refused:
        Condition(source).holds(row())
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("source", ["row.x ==", "a b", "", "row.x = 1", "nope(row)", "verdict"])
def test_what_does_not_compile_is_refused_in_one_line(source: str) -> None:
    with pytest.raises(ConditionError) as refused:
        Condition(source)
    assert "\n" not in str(refused.value)


def test_a_deadline_is_a_duration_or_none() -> None:
    assert Deadline("duration('90s')").of(row()) == 90
    assert Deadline("duration(string(row.stars) + 'm')").of(row()) == 240
    assert Deadline("row.urgent ? null : duration('1s')").of(row()) is None
    for wrong, told in (
        ("row.stars", "gives a whole number, not a duration"),
        ("duration('0s')", "gives 0 s; give a time above 0"),
        ("duration(row.urgent ? '-5s' : '1s')", "gives -5 s; give a time above 0"),
    ):
        with pytest.raises(ConditionError, match=told):
            Deadline(wrong).of(row())


def test_a_priority_is_a_whole_number() -> None:
    assert Priority("row.urgent ? 10 : 0").of(row()) == 10
    assert Priority("row.stars").of(row()) == 4
    with pytest.raises(ConditionError, match="not a whole number"):
        Priority("row.urgent").of(row())
    with pytest.raises(ConditionError, match="not a whole number"):
        Priority("double(row.stars) / 3.0").of(row())
