"""Waiting for a store that fails: again with growing pauses, for a bounded time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from weft.data.errors import OutputError, Superseded
from weft.data.storage import one_line

PATIENCE = 60.0
"""Seconds that one call goes on trying while the store fails."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0

T = TypeVar("T")


def patiently(
    step: Callable[[], T],
    *,
    what: str,
    seconds: float,
    storage_options: Mapping[str, str] | None = None,
) -> T:
    """What `step` returns, tried again while it raises.

    After `seconds` raises `OutputError` that says `what` failed and why. This
    package's own errors and mistakes of the program (`TypeError`, `KeyError`) pass at once."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            return step()
        except (OutputError, Superseded, AssertionError, TypeError, LookupError):
            raise
        except Exception as error:
            if time.monotonic() + pause > deadline:
                problem = one_line(error, storage_options)
                raise OutputError(f"{what}, after {seconds:.0f} s of trying: {problem}") from error
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, _LONGEST_PAUSE)
