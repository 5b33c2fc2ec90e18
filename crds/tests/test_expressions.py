"""What an expression names, and what is said of a wrong one."""

from __future__ import annotations

from datetime import timedelta

import cel
import pytest

from weft_api.expressions import FUNCTIONS, fields_used, problem_of

ARGUMENTS = {
    "contains": "'a'",
    "startsWith": "'a'",
    "endsWith": "'a'",
    "matches": "'a'",
}
VALUES = {"uint": "1", "timestamp": "'2026-01-31T12:00:00Z'", "duration": "'1s'"}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_that_is_named_exists(name: str) -> None:
    if name.startswith("get"):
        cel.evaluate(f"timestamp('2026-01-31T12:00:00Z').{name}()")
    elif name in ARGUMENTS:
        cel.evaluate(f"'a'.{name}({ARGUMENTS[name]})")
    else:
        cel.evaluate(f"{name}({VALUES.get(name, repr('1'))})")


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("row.a == row.b.c", {"a", "b"}),
        ("has(row.a) && row['b'] == \"row.c\"", {"a", "b"}),
        ("row.messages.exists(m, m.role == 'x')", {"messages"}),
        ("row . a == 1 // row.b", {"a"}),
        ("other.row.a == 1", set()),
        ("'row.a' == r'row.b'", set()),
        ("size(row) > 1", None),
        ("row[row.key] == 1", None),
        ("'a' in row", None),
    ],
)
def test_the_fields_of_an_expression_are_found(source: str, names: set[str] | None) -> None:
    assert fields_used(source) == names


@pytest.mark.parametrize(
    "source",
    [
        "row.a == 'x' && !has(row.b)",
        "row.messages.filter(m, m.role == 'user').size() > 2",
        "row.a.all(x, x.b.exists(y, y == x))",
        "timestamp(row.a).getFullYear() > 2025",
        "true",
        "row.a in ['x', 'y'] ? row.b : row.c > 1.5",
    ],
)
def test_a_sound_condition_has_no_problem(source: str) -> None:
    assert problem_of(source) is None


@pytest.mark.parametrize(
    ("source", "fix"),
    [
        ("row.a = 1", "compare with =="),
        ("not row.a", 'write ! for "not"'),
        ("row.a or row.b", 'write || for "or"'),
        ("row.a == None", "write null"),
        ("a == 1", "write row.a"),
        ("row.a.startswith('x')", 'did you mean "startsWith"?'),
        ("1 + 1", "write a condition such as row.verdict == 'revise'"),
    ],
)
def test_a_wrong_condition_is_told_what_to_write(source: str, fix: str) -> None:
    problem = problem_of(source)
    assert problem is not None
    assert problem.fix == fix


def test_a_deadline_gives_a_duration() -> None:
    assert problem_of("duration('1h30m')", gives=timedelta) is None
    assert problem_of("row.urgent ? duration('30s') : null", gives=timedelta) is None
    for wrong in ("30", "'30s'", "null", "duration('3 days')"):
        problem = problem_of(wrong, gives=timedelta)
        assert problem is not None
        assert problem.problem == f'"{wrong}" gives no duration'
        assert problem.fix == "write one such as row.urgent ? duration('30s') : duration('10m')"


def test_a_priority_gives_a_number() -> None:
    assert problem_of("5", gives=int) is None
    problem = problem_of("'high'", gives=int)
    assert problem is not None
    assert problem.problem == "\"'high'\" gives no whole number"
