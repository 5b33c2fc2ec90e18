"""Every wait of a scenario: bounded, and named after what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

EVERY = 1.0
"""Seconds between two looks."""


class TooLate(AssertionError):
    """What was waited for did not come in time."""


def until(
    what: str, look: Callable[[], T | None], seconds: float, *, seen: Callable[[], str] = str
) -> T:
    """The first truthy answer of `look`. `seen` says what there is instead, when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TooLate(f"not within {seconds:g} s: {what}. Instead: {seen() or found!r}")
        time.sleep(EVERY)
