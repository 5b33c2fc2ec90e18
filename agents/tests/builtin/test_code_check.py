"""Answers whose program is run against tests, and answers that must come from a text."""

from __future__ import annotations

import pytest

from weft.builtin.checks import Check
from weft.builtin.code import program_in
from weft.row import ChatMessage, Row


def row(answer: str, **columns: str) -> Row:
    return Row("r", columns, {}, [ChatMessage("user", "?"), ChatMessage("assistant", answer)])


def fenced(code: str, language: str = "python") -> str:
    return f"Here:\n```{language}\n{code}\n```\nThat is it."


TESTS = "assert add(2, 3) == 5, 'two and three'"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (fenced("def add(a, b):\n    return a + b"), None),
        ("def add(a, b):\n    return a + b", None),
        (fenced("def add(a, b):\n    return a - b"), "The tests fail: AssertionError: two and"),
        (fenced("def sub(a, b): pass"), "The tests fail: NameError: name 'add' is not defined"),
        (fenced("raise SystemExit(0)"), "The tests fail: SystemExit"),
        (fenced("import os; os._exit(0)"), "The program was ended by a limit, or ended itself"),
        (fenced("while True: pass"), "The program does not end within 1 s."),
    ],
)
async def test_a_program_is_good_when_it_passes_the_tests_of_its_row(
    answer: str, said: str | None
) -> None:
    check = Check.model_validate({"code": {"tests": "tests", "timeout": 1}})
    fault = await check.fault(row(answer, tests=TESTS))
    assert fault is None if said is None else (fault or "").startswith(said)


def test_the_last_python_block_is_the_program() -> None:
    text = fenced("old = 1") + fenced("new = 2") + fenced("$ run it", "bash")
    assert program_in(text).strip() == "new = 2"
    assert program_in("```\nplain\n```").strip() == "plain"


PAGE = "The lamp was made in 1931 in Graz. It gives a warm, yellow light and weighs 2,400 grams."


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("It was made in Graz in 1931.", None),
        ("The lamp weighs 2400 grams.", None),
        ("It was made in Graz in 1935.", "The number 1935 is not in the text"),
        ("It was made in 1931. Elephants enjoy swimming together.", "This is not in the text"),
    ],
)
async def test_an_answer_has_to_come_from_the_text(answer: str, said: str | None) -> None:
    check = Check.model_validate({"grounded": {"column": "page", "share": 0.5}})
    fault = await check.fault(row(answer, page=PAGE))
    assert fault is None if said is None else (fault or "").startswith(said)
