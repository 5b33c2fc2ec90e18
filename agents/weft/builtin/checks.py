"""Checks that need no model: pure functions of a row, each giving None or what is wrong."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.protocols import Validator
from pydantic import Field, field_validator, model_validator
from referencing import Registry

from weft.agent import AgentConfig
from weft.builtin.code import program_in, verdict_of
from weft.row import Row
from weft.sandbox import Limits, run_python

MOST_SEARCHED = 100_000
"""Characters that a pattern is run over."""
_NESTED_QUANTIFIER = re.compile(r"\([^()]*[+*}][^()]*\)\s*(?:[+*]|\{\d*,)")
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?<=\d)")
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_MARKED = re.compile(r"####|\\boxed\{|\banswer(?:\s+is|:)", re.IGNORECASE)


class Length(AgentConfig):
    """Characters of the text."""

    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=1)] = 1_000_000


class Regex(AgentConfig):
    """A pattern (Python's `re`, multi-line) that the text must have, or must not have."""

    pattern: str
    forbidden: bool = False

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        if _NESTED_QUANTIFIER.search(pattern):
            raise ValueError(
                "repeats a group that repeats, which can take for ever; "
                "write it without the inner or the outer repetition"
            )
        return pattern


class Number(AgentConfig):
    """The text's final number must equal the one in a column (`#### 42`, or the last number)."""

    equals: str
    """Column with the reference answer."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0


class Code(AgentConfig):
    """The text's program (its last fenced block, or all of it) must pass the tests in a column.

    It is run, tests after program, in a sandbox: `weft/sandbox/run.py` says what that holds."""

    tests: str
    """Column with the tests: Python that raises where the program is wrong."""
    timeout: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Seconds, of wall time and of CPU time each."""
    memory_mib: Annotated[int, Field(ge=64, le=65536)] = 512
    """MiB of address space; `memoryMib` in the manifest."""


class Grounded(AgentConfig):
    """Each sentence of the text must draw on a column: its numbers have to be there, and this share
    of its telling words (of four letters and more). A lexical check: it finds what was made up out
    of nothing, not what was misread."""

    column: str
    share: Annotated[float, Field(gt=0, le=1)] = 0.6


class Check(AgentConfig):
    """One check: exactly one of `length`, `regex`, `jsonSchema`, `number`, `code`, `grounded`."""

    length: Length | None = None
    regex: Regex | None = None
    json_schema: dict[str, Any] | None = None
    """The text must be JSON that matches this schema."""
    number: Number | None = None
    code: Code | None = None
    grounded: Grounded | None = None
    on: Literal["answer", "dialogue"] = "answer"
    """The assistant's last answer, or every message of the user and the assistant."""
    otherwise: Literal["revise", "reject"] = "revise"
    """The verdict when the check fails."""
    feedback: str = ""
    """Told to the drafter instead of our own words."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Check:
        kinds = (
            self.length, self.regex, self.json_schema, self.number, self.code, self.grounded
        )  # fmt: skip
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError(
                "a check is exactly one of length, regex, jsonSchema, number, code and grounded"
            )
        return self

    @field_validator("json_schema")
    @classmethod
    def _is_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            try:
                Draft202012Validator.check_schema(schema)
            except SchemaError as error:
                raise ValueError(f"is not a JSON schema: {error.message}") from None
        return schema

    async def fault(self, row: Row) -> str | None:
        """What is wrong with the row, or None."""
        if self.code is not None:
            problem = await code_problem(last_answer(row), row, self.code)
        else:
            problem = self._problem(row)
        return problem and (self.feedback or problem)

    def _problem(self, row: Row) -> str | None:
        text = last_answer(row) if self.on == "answer" else transcript(row)
        if self.length is not None:
            if len(text) < self.length.min:
                return f"It has {len(text)} characters; at least {self.length.min} are needed."
            if len(text) > self.length.max:
                return f"It has {len(text)} characters; at most {self.length.max} are allowed."
        elif self.regex is not None:
            found = re.search(self.regex.pattern, text[:MOST_SEARCHED], re.MULTILINE)
            if found and self.regex.forbidden:
                return f"It contains {found.group()[:80]!r}, which is not allowed."
            if not found and not self.regex.forbidden:
                return f"It lacks what this pattern asks for: {self.regex.pattern}"
        elif self.json_schema is not None:
            return schema_problem(text, self.json_schema)
        elif self.number is not None:
            return number_problem(text, row, self.number)
        elif self.grounded is not None:
            return grounded_problem(text, row, self.grounded)
        return None


def answers(row: Row) -> int:
    """The assistant's turns so far: its messages that call no tool."""
    return sum(one.role == "assistant" and not one.tool_calls for one in row.messages)


def last_answer(row: Row) -> str:
    """The text of the last assistant message that calls no tool."""
    for message in reversed(row.messages):
        if message.role == "assistant" and not message.tool_calls:
            return message.content
    return ""


def transcript(row: Row, *, tools: bool = False) -> str:
    """The dialogue as text, a paragraph a message; with `tools`, calls and results too.

    The assistant's answers are numbered, so that a reviewer can name one.
    """
    lines: list[str] = []
    answer = 0
    for message in row.messages:
        if message.role == "tool":
            if tools:
                lines.append(f"[result of {message.name or 'tool'}] {message.content}")
        elif message.tool_calls:
            if tools:
                lines += [f"[assistant calls {c.name}({c.arguments})]" for c in message.tool_calls]
        elif message.role == "assistant":
            answer += 1
            lines.append(f"Assistant ({answer}): {message.content}")
        elif message.role == "user":
            lines.append(f"User: {message.content}")
    return "\n\n".join(lines)


def schema_problem(text: str, schema: dict[str, Any]) -> str | None:
    """Whether the text is JSON that matches."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"It is not JSON: {error}"
    fault = next(iter(_validator(json.dumps(schema, sort_keys=True)).iter_errors(value)), None)
    return None if fault is None else f"At {fault.json_path}: {fault.message[:300]}"


@lru_cache(maxsize=64)
def _validator(schema: str) -> Validator:
    return Draft202012Validator(json.loads(schema), registry=Registry())


def final_number(text: str) -> Decimal | None:
    """The number that a worked answer ends with.

    After the last mark (`####`, `\\boxed{`, `answer is`, `answer:`) the first number counts;
    without a mark, the last of the text. Thousands separators and signs such as `$` are skipped.
    """
    marks = list(_MARKED.finditer(text))
    for mark in reversed(marks):
        if found := _first_number(text[mark.end() :]):
            return _decimal(found)
    numbers = [one.group() for one in _NUMBER.finditer(text[-MOST_SEARCHED:]) if one.group()]
    return _decimal(numbers[-1]) if numbers else None


def _first_number(text: str) -> str:
    return next((one.group() for one in _NUMBER.finditer(text[:200]) if one.group()), "")


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text.replace(",", ""))
    except InvalidOperation:
        return None


def column_of(row: Row, name: str, what: str) -> str:
    """A column's text. Raises `ValueError` where the row has none."""
    if name not in row:
        raise ValueError(
            f"config.checks: this row has no column `{name}`; name the one with {what}"
        )
    return str(row[name])


async def code_problem(text: str, row: Row, code: Code) -> str | None:
    """Whether the text's program passes the row's tests."""
    tests = column_of(row, code.tests, "the tests")
    limits = Limits(seconds=code.timeout, memory=code.memory_mib << 20)
    ran = await run_python(f"{program_in(text)}\n\n{tests}\n", limits)
    return verdict_of(ran, code.timeout)


def grounded_problem(text: str, row: Row, grounded: Grounded) -> str | None:
    """Whether each sentence of the text draws on the column."""
    source = column_of(row, grounded.column, "the source text").lower()
    words = set(_WORD.findall(source))
    numbers = {one.group().replace(",", "") for one in _NUMBER.finditer(source) if one.group()}
    for sentence in _SENTENCE.split(text[:MOST_SEARCHED]):
        lower = sentence.lower()
        for number in (one.group() for one in _NUMBER.finditer(lower) if one.group()):
            if number.replace(",", "") not in numbers:
                return f"The number {number} is not in the text that the answer has to come from."
        told = [word for word in _WORD.findall(lower) if len(word) > 3]
        if told and sum(word in words for word in told) < grounded.share * len(told):
            return f"This is not in the text that the answer has to come from: {sentence[:160]!r}"
    return None


def number_problem(text: str, row: Row, number: Number) -> str | None:
    """Whether the text's final number is the reference's. The reference itself is not told: it
    would turn up in the revised answer."""
    reference = final_number(column_of(row, number.equals, "the reference answer"))
    if reference is None:
        raise ValueError(f"config.checks: column `{number.equals}` of this row has no number")
    given = final_number(text)
    if given is None:
        return "It does not end with a number; give the final answer after ####."
    if abs(given - reference) > Decimal(str(number.tolerance)):
        return f"The final number, {given}, is wrong. Work it out again, step by step."
    return None
