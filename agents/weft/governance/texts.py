"""The texts in a row that one hop has newly written, wherever they stand, and changing them there.

New is what the row did not hold before: a text that an earlier hop wrote was looked at then. The
source's columns are not among what it held, so what a hop copies from them is new.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from weft.row import Row
from weft.segment import ToolTrace

Change = Callable[[str], str]
"""A text to the text that stands in its place, mostly the same."""

LEAST_NUMBER = 10_000
"""Smaller numbers are no personal data that any recognizer knows."""
MAX_DEPTH = 64
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,80}", re.ASCII)
_PLAIN_KEY = re.compile(r"(?!(?:\D*\d){5})[A-Za-z_][A-Za-z0-9_-]{0,79}", re.ASCII)
"""A field's name; unlike those of tools and calls it may be a value, such as a card's number."""
_JSON = re.compile(r'\s*[{\["]')


def held(row: Row) -> set[str]:
    """All texts of a row but its source's columns."""
    found = {row.id}
    for message in row.messages:
        found.add(message.content)
        found.update([call.arguments for call in message.tool_calls])
    found.update(_strings(row.data, 0))
    return found


class Texts:
    """Gives each text that is not in `seen` to `change`, and puts what it returns in its place."""

    def __init__(self, seen: Collection[str], change: Change) -> None:
        self._seen = seen
        self._change = change

    def of_row(self, row: Row, before: Row, known_tools: Collection[Any]) -> None:
        for message in row.messages:
            message.content = self.text(message.content)
            if message.name is not None:
                message.name = self._name(message.name)
            if message.tool_call_id is not None:
                message.tool_call_id = self._name(message.tool_call_id)
            for call in message.tool_calls:
                call.id, call.name = self._name(call.id), self._name(call.name)
                call.arguments = self.text(call.arguments)
        for name, value in list(row.data.items()):
            self._put(row.data, name, value)
        if row.tools:
            row.tools = [
                one if one in known_tools or one in before.tools else self.value(one)
                for one in row.tools
            ]
        row.id = self.text(row.id)
        if row.source != before.source:
            row.source = self.value(row.source)

    def of_records(self, traces: Iterable[ToolTrace], notes: dict[str, Any]) -> None:
        """The records of the hop, which leave with its segment."""
        for trace in traces:
            trace.call_id, trace.name = self._name(trace.call_id), self._name(trace.name)
            trace.arguments = self.text(trace.arguments)
            trace.result = self.text(trace.result)
            trace.error = self.text(trace.error)
        for name, note in list(notes.items()):
            self._put(notes, name, note)

    def value(self, value: Any, depth: int = 0) -> Any:
        """Plain data with its texts and long numbers looked at, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            if abs(value) < LEAST_NUMBER:
                return value
            digits = str(value)
            changed = self._change(digits)
            return value if changed == digits else changed
        if depth > MAX_DEPTH:
            raise ValueError(f"a field is nested more than {MAX_DEPTH} deep")
        if isinstance(value, dict):
            return {self._key(key): self.value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, bytes | bytearray | memoryview):
            text = bytes(value).decode(errors="replace")
            changed = self._change(text)
            return value if changed == text else changed.encode()
        return value

    def text(self, text: str) -> str:
        """A text that is JSON is looked at as what it says (within it, `\\u0040` is an @), and is
        JSON still where something was changed."""
        if not text or text in self._seen:
            return text
        if _JSON.match(text):
            try:
                value = json.loads(text, object_pairs_hook=_each_once)
            except (ValueError, RecursionError):
                return self._change(text)
            changed = self.value(value)
            return text if changed == value else json.dumps(changed, ensure_ascii=False)
        return self._change(text)

    def _put(self, fields: dict[str, Any], name: str, value: Any) -> None:
        """Changes a field only where its texts did, so that untouched ones stay the same object."""
        changed, key = self.value(value), self._key(name)
        if key != name:
            del fields[name]
            fields[key] = changed
        elif changed != value:
            fields[name] = changed

    def _key(self, key: Any) -> Any:
        if not isinstance(key, str) or _PLAIN_KEY.fullmatch(key):
            return key
        return self._change(key)

    def _name(self, name: str) -> str:
        """Names and ids are not looked at while they are such: digits in one are no telephone."""
        return name if _PLAIN_NAME.fullmatch(name) else self._change(name)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; where a name comes twice the last would hide the others, and the text is looked at
    as it stands."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name comes twice")
    return made


def _strings(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict) and depth <= MAX_DEPTH:
        for item in value.values():
            yield from _strings(item, depth + 1)
    elif isinstance(value, list) and depth <= MAX_DEPTH:
        for item in value:
            yield from _strings(item, depth + 1)
