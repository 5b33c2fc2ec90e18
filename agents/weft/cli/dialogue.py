"""A stored row as a person reads it: who said what, what the tools gave, what was thought of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from weft.cli.summary import COLOURS

ROLES = {"system": "magenta", "user": "green", "assistant": "cyan", "tool": "yellow"}
MOST_CELL = 300
"""Characters of a field or column that are shown."""
MOST_RESULT = 1500
"""Characters of a tool's result or arguments."""
_INDENT = (0, 0, 1, 2)


def dialogue(row: Mapping[str, Any]) -> RenderableType:
    """`row`: a stored row with its JSON columns as values."""
    parts: list[RenderableType] = [_title(row)]
    if row["reason"]:
        parts.append(Text(row["reason"], COLOURS[row["status"]]))
    parts += [Text(), *_section("source", row["source"])]
    parts += _messages(row["messages"] or [])
    parts += _section("what the agents found", row["data"])
    return Group(*parts)


def _title(row: Mapping[str, Any]) -> Text:
    title = Text()
    title.append(f"{row['id']}", "bold")
    title.append(f"  {row['status']}", f"bold {COLOURS[row['status']]}")
    turns = sum(1 for message in row["messages"] or [] if message["role"] in ("user", "assistant"))
    tokens = (row["promptTokens"] or 0) + (row["completionTokens"] or 0)
    title.append(f"  {turns} messages, {tokens:,} tokens, attempts: {row['attempts']}", "dim")
    return title


def _messages(messages: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    for message in messages:
        role = message["role"]
        calls = message["tool_calls"] or []
        heading = Text(f"{role} {message['name']}" if message["name"] else role)
        heading.stylize(f"bold {ROLES.get(role, 'white')}")
        yield heading
        content = message["content"] or ""
        if role == "tool":
            yield Padding(_value(content, MOST_RESULT), _INDENT)
        elif content or not calls:
            yield Padding(Text(content or "(nothing)"), _INDENT if not calls else (0, 0, 0, 2))
        if calls:
            yield Padding(Group(*map(_call, calls)), _INDENT)


def _call(call: Mapping[str, Any]) -> Text:
    """`→ lookup_order(order: "LL-32577")`"""
    function = call["function"]
    text = Text("→ ", "yellow")
    text.append(function["name"], "bold yellow")
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        arguments = None
    if isinstance(arguments, dict):
        inside = ", ".join(f"{name}: {_json(value)}" for name, value in arguments.items())
    else:
        inside = function["arguments"]
    text.append(f"({_cut(inside, MOST_RESULT)})")
    return text


def _value(content: str, most: int) -> RenderableType:
    """A tool's answer: an object as a small table, all else as it is."""
    try:
        value = json.loads(content)
    except ValueError:
        return Text(_cut(content, most))
    if not isinstance(value, dict) or not value:
        return Text(_cut(content, most))
    return _fields(value)


def _section(name: str, fields: Mapping[str, Any] | None) -> Iterator[RenderableType]:
    if fields:
        yield Text(name, "bold dim")
        yield Padding(_fields(fields), _INDENT)


def _fields(fields: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        shown = value if isinstance(value, str) else _json(value)
        table.add_row(Text(name), Text(_cut(shown, MOST_CELL)))
    return table


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"
