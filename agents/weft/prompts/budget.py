"""What one rendering of a template may cost: steps, seconds, and the size of any one value.

Values are measured as they would be printed, so that a list which holds the same list twice, forty
levels deep, is found out before anything walks through it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import TemplateError, Undefined

MAX_CHARACTERS = 1_000_000
"""Of any text that a template makes, its output included."""
MAX_STEPS = 200_000
"""Loop rounds, calls and other operations of one rendering; large values cost more than one."""
MAX_SECONDS = 2.0
MAX_ITEMS = 100_000
"""Values in any list or mapping that a template makes, those inside its values included."""
MAX_NUMBER = 10**18


class TemplateLimit(TemplateError):
    """The template does, or would do, more than a prompt may."""


class Budget:
    """Filled up before each rendering; every method that spends raises `TemplateLimit` when it is
    used up, or when a value is too large by itself."""

    __slots__ = ("_deadline", "_steps")

    def __init__(self) -> None:
        self.fill()

    def fill(self) -> None:
        """Begin anew."""
        self._steps = MAX_STEPS
        self._deadline = time.monotonic() + MAX_SECONDS

    def spend(self, steps: int = 1) -> None:
        """Pay for an operation."""
        self._steps -= steps
        if self._steps < 0:
            raise TemplateLimit(f"it takes more than {MAX_STEPS} steps; loop over less")
        if time.monotonic() > self._deadline:
            raise TemplateLimit(f"it takes more than {MAX_SECONDS:g} s; do less in it")

    def steps(self, values: Iterable[Any]) -> Iterator[Any]:
        """The values, each for one step."""
        for value in values:
            self.spend()
            yield value

    def check(self, value: Any) -> Any:
        """The value, once it is known to be of a bearable size. Costs by its size."""
        kind = type(value)
        if kind is str:
            self.text(len(value))
        elif kind is int:
            if not -MAX_NUMBER <= value <= MAX_NUMBER:
                raise TemplateLimit(f"it makes a number beyond {float(MAX_NUMBER):.0e}")
            self.spend()
        elif kind in (list, tuple, dict):
            items, characters = _measured(value)
            self.spend(1 + items // 16 + characters // 1024)
        else:
            self.spend()
        return value

    def text(self, characters: int) -> None:
        """Pay for a text of this length, or refuse it before it is made."""
        if characters > MAX_CHARACTERS:
            raise TemplateLimit(f"it makes a text of more than {MAX_CHARACTERS} characters")
        self.spend(1 + characters // 1024)

    def items(self, count: int) -> None:
        """Pay for a list of this length, or refuse it before it is made."""
        if count > MAX_ITEMS:
            raise TemplateLimit(f"it makes a list or mapping of more than {MAX_ITEMS} values")
        self.spend(1 + count // 16)

    def joined(self, parts: Iterable[str]) -> str:
        """`"".join(parts)`, given up as soon as it is too long."""
        kept: list[str] = []
        total = 0
        for part in parts:
            total += len(part)
            if total > MAX_CHARACTERS:
                raise TemplateLimit(f"it makes a text of more than {MAX_CHARACTERS} characters")
            kept.append(part)
        return "".join(kept)


def _measured(value: Any) -> tuple[int, int]:
    """Items and characters in a value, counted as often as they would be printed."""
    items = characters = 0
    waiting = [value]
    while waiting:
        value = waiting.pop()
        items += 1
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif isinstance(value, Undefined):
            str(value)  # raises, with the name that is missing
        elif not (value is None or isinstance(value, (int, float))):
            raise TemplateLimit(f"it puts a {type(value).__name__} into a list; use plain data")
        if items + len(waiting) > MAX_ITEMS:
            raise TemplateLimit(f"it makes a list or mapping of more than {MAX_ITEMS} values")
        if characters > MAX_CHARACTERS:
            raise TemplateLimit(f"it makes a value of more than {MAX_CHARACTERS} characters")
    return items, characters
