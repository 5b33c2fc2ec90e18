"""CEL expressions over a row: compiled once, evaluated at every hop.

Two things make an evaluation cheap. The evaluator converts every value that it is handed, so an
expression gets only the names that it mentions (`row.verdict == 'x'` does not convert the
dialogue). And an expression is a pure function of these values, so where they are few and small
(a verdict, a counter, the mere presence of a field) its outcome is remembered.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, ClassVar

from weft.row import Row
from weft_api.evaluator import cel
from weft_api.expressions import Kind, fields_used, problem_of

MEMO_ENTRIES = 512
MEMO_TEXT = 64
"""Outcomes are remembered for values no longer than this (characters)."""

_ABSENT = (None, "absent")


class ConditionError(Exception):
    """An expression that does not compile, or that this row has no answer to. One line."""


def only_presence(source: str) -> frozenset[str]:
    """The names that the expression asks after with `has(row.name)` and reads nowhere else."""
    asked = re.compile(r"\bhas\(\s*row\s*\.\s*([A-Za-z_][A-Za-z0-9_]*)\s*\)")
    elsewhere = fields_used(asked.sub("true", source))
    return frozenset() if elsewhere is None else frozenset(asked.findall(source)) - elsewhere


class Expression:
    """A compiled CEL expression with one variable, `row`. Raises `ConditionError`."""

    __slots__ = ("_fields", "_memo", "_presence", "_program", "source")
    _gives: ClassVar[Kind] = bool

    def __init__(self, source: str) -> None:
        self.source = source
        if fault := problem_of(source, gives=self._gives):
            raise ConditionError(f"{fault.problem}; {fault.fix}")
        self._program = cel.compile(source)
        self._fields = fields_used(source)
        self._presence = only_presence(source)
        self._memo: dict[tuple[Any, ...], Any] = {}

    def value(self, row: Row) -> Any:
        """What the expression gives for this row."""
        if self._fields is None:
            return self._evaluate(row.view())
        seen = row.view(self._fields)
        for name in self._presence:
            if name in seen:
                seen[name] = True
        key = _key(seen, self._fields)
        if key is None:
            return self._evaluate(seen)
        try:
            return self._memo[key]
        except KeyError:
            pass
        outcome = self._evaluate(seen)
        if len(self._memo) >= MEMO_ENTRIES:
            self._memo.clear()
        self._memo[key] = outcome
        return outcome

    def _evaluate(self, seen: dict[str, Any]) -> Any:
        try:
            return self._program.execute({"row": seen})
        except KeyError as error:
            name = error.args[0].strip("'") if error.args else "?"
            raise ConditionError(
                f"`{self.source}`: there is no `{name}` in this row; "
                "put `has(…) && …` before it where it may be missing"
            ) from None
        except Exception as error:
            raise ConditionError(f"`{self.source}`: {_first_line(error)}") from None


class Condition(Expression):
    """A yes-or-no expression (`when`)."""

    __slots__ = ()

    def holds(self, row: Row) -> bool:
        """Whether it holds for this row. Raises `ConditionError` where it gives no yes or no."""
        outcome = self.value(row)
        if outcome is True or outcome is False:
            return outcome
        raise ConditionError(
            f"`{self.source}` gives {_kind(outcome)}, not true or false; compare it with something"
        )


class Priority(Expression):
    """A whole number for a row as the source gave it (`priority`); higher goes first."""

    __slots__ = ()
    _gives = int

    def of(self, row: Row) -> int:
        """The row's priority. Raises `ConditionError` where that is no whole number."""
        outcome = self.value(row)
        if isinstance(outcome, int) and not isinstance(outcome, bool):
            return outcome
        raise ConditionError(
            f"`{self.source}` gives {_kind(outcome)}, not a whole number; use int(…) or `? 1 : 0`"
        )


class Deadline(Expression):
    """How long a row as the source gave it may take (`deadline`)."""

    __slots__ = ()
    _gives = timedelta

    def of(self, row: Row) -> float | None:
        """Seconds, or None for no deadline. Raises `ConditionError` where it is no duration."""
        outcome = self.value(row)
        if outcome is None:
            return None
        if not isinstance(outcome, timedelta):
            raise ConditionError(
                f"`{self.source}` gives {_kind(outcome)}, not a duration; use duration('30s'), or "
                "null for none"
            )
        if outcome <= timedelta():
            raise ConditionError(
                f"`{self.source}` gives {outcome.total_seconds():g} s; give a time above 0, or "
                "null for none"
            )
        return outcome.total_seconds()


def _key(seen: dict[str, Any], fields: frozenset[str]) -> tuple[Any, ...] | None:
    """A key for the memo, or None where a value is too large to be worth remembering.

    The type is part of it: 1, 1.0 and True are one key to Python and three values to CEL.
    """
    key: list[Any] = []
    for name in fields:
        if name not in seen:
            key.append(_ABSENT)
            continue
        value = seen[name]
        kind = type(value)
        if kind is str:
            if len(value) > MEMO_TEXT:
                return None
        elif not (kind is bool or kind is int or kind is float or value is None):
            return None
        key.append((kind, value))
    return tuple(key)


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.split(" CEL does not coerce", 1)[0].split(". Check that", 1)[0]


def _kind(value: Any) -> str:
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    return names.get(type(value), "null" if value is None else f"a {type(value).__name__}")
