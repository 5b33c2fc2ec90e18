"""Checks that need no model."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from weft.builtin.checks import Check, final_number, transcript
from weft.row import ChatMessage, Row, ToolCall


def row(answer: str, reference: str = "#### 18") -> Row:
    return Row(
        "r1",
        {"answer": reference},
        messages=[ChatMessage("user", "Hello 99"), ChatMessage("assistant", answer)],
    )


def check(**given: Any) -> Check:
    return Check.model_validate(given)


@pytest.mark.parametrize(
    ("given", "answer", "fault"),
    [
        ({"length": {"min": 3}}, "ab", "It has 2 characters; at least 3 are needed."),
        ({"length": {"max": 3}}, "abcd", "It has 4 characters; at most 3 are allowed."),
        ({"length": {"min": 1, "max": 3}}, "ab", None),
        ({"regex": {"pattern": "^yes"}}, "no\nyes", None),
        ({"regex": {"pattern": "^yes"}}, "no", "It lacks what this pattern asks for: ^yes"),
        ({"regex": {"pattern": "AI", "forbidden": True}}, "an AI", "It contains 'AI', which"),
        ({"regex": {"pattern": "AI", "forbidden": True}}, "fine", None),
        ({"regex": {"pattern": "99"}, "on": "dialogue"}, "fine", None),
        ({"jsonSchema": {"required": ["a"]}}, '{"a": 1}', None),
        ({"jsonSchema": {"required": ["a"]}}, '{"b": 1}', "At $: 'a' is a required property"),
        ({"jsonSchema": {"type": "object"}}, "hm", "It is not JSON"),
        ({"number": {"equals": "answer"}}, "so it is 18.", None),
        ({"number": {"equals": "answer"}}, "#### 17", "The final number, 17, is wrong."),
        ({"number": {"equals": "answer"}}, "no idea", "It does not end with a number"),
        ({"number": {"equals": "answer", "tolerance": 0.5}}, "18.4", None),
        ({"number": {"equals": "answer"}, "feedback": "Try again."}, "#### 17", "Try again."),
    ],
)
async def test_a_check_says_what_is_wrong(given: Any, answer: str, fault: str | None) -> None:
    told = await check(**given).fault(row(answer))
    assert told is None if fault is None else (told or "").startswith(fault)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 1,234", "1234"),
        ("5 + 6 = 11", "11"),
        ("The answer is $70,000.50.", "70000.50"),
        ("\\boxed{-3}", "-3"),
        ("First #### 4, no: #### 5", "5"),
        ("Answer: **42**\n(2 checks)", "42"),
        ("It costs 3.", "3"),
        ("18 eggs left\n####", "18"),
        ("none", None),
        ("", None),
    ],
)
def test_the_final_number_is_found_as_people_write_it(text: str, number: str | None) -> None:
    assert final_number(text) == (None if number is None else Decimal(number))


async def test_the_reference_is_never_told() -> None:
    told = await check(number={"equals": "answer"}).fault(row("#### 17"))
    assert told is not None
    assert "18" not in told


async def test_a_missing_reference_is_a_fault_of_the_manifest_and_not_of_the_answer() -> None:
    with pytest.raises(ValueError, match="has no column `solution`"):
        await check(number={"equals": "solution"}).fault(row("1"))
    with pytest.raises(ValueError, match="has no number"):
        await check(number={"equals": "answer"}).fault(row("1", reference="unknown"))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"length": {}, "regex": {"pattern": "x"}},
        {"regex": {"pattern": "("}},
        {"regex": {"pattern": "(a+)+$"}},
        {"regex": {"pattern": "(a*)*"}},
        {"regex": {"pattern": "(\\d+){2,}"}},
        {"jsonSchema": {"type": "obj"}},
        {"number": {}},
        {"length": {"min": -1}},
    ],
)
def test_a_check_that_cannot_work_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        check(**given)


def test_a_transcript_numbers_the_answers_and_can_show_the_tools() -> None:
    given = Row(
        "r1",
        {},
        messages=[
            ChatMessage("user", "Where?"),
            ChatMessage("assistant", "", [ToolCall("a", "look", '{"x": 1}')]),
            ChatMessage("tool", '{"at": "depot"}', tool_call_id="a", name="look"),
            ChatMessage("assistant", "At the depot."),
        ],
    )
    assert transcript(given) == "User: Where?\n\nAssistant (1): At the depot."
    assert '[assistant calls look({"x": 1})]' in transcript(given, tools=True)
    assert '[result of look] {"at": "depot"}' in transcript(given, tools=True)
