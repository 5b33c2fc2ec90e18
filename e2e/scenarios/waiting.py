"""Every wait of a scenario: bounded, and named after what it waits for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

EVERY = 1.0
"""Seconds between two looks."""
PATIENCE = float(os.environ.get("WEFT_E2E_PATIENCE", "1"))
"""All waits are so many times as long: for machines that have other things to do."""


class TooLate(AssertionError):
    """What was waited for did not come in time."""


def until(
    what: str, look: Callable[[], T | None], seconds: float, *, seen: Callable[[], str] = str
) -> T:
    """The first truthy answer of `look`. `seen` says what there is instead, when time is up."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TooLate(f"not within {seconds:g} s: {what}. Instead: {seen() or found!r}")
        time.sleep(EVERY)
