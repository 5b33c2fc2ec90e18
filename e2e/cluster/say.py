"""Progress for a person: one line per step, with the seconds since the command began."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_BEGAN = time.monotonic()


def say(text: str) -> None:
    """Print one line to stderr; stdout is kept for what another program may read."""
    # In one write: several threads speak at once.
    sys.stderr.write(f"[{time.monotonic() - _BEGAN:6.1f}s] {text}\n")
    sys.stderr.flush()


@contextmanager
def step(text: str, every: float = 30.0) -> Iterator[None]:
    """Announce a step, say now and then that it still runs, and tell how long it took."""
    say(text)
    began = time.monotonic()
    done = threading.Event()

    def remind() -> None:
        while not done.wait(every):
            say(f"  still at it after {time.monotonic() - began:.0f} s: {text}")

    threading.Thread(target=remind, daemon=True).start()
    try:
        yield
    finally:
        done.set()
    took = time.monotonic() - began
    if took >= 5:
        say(f"  done in {took:.0f} s: {text}")
