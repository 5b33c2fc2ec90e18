"""One at a time: locks between the commands of several people or helpers on one machine."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .say import say


@contextmanager
def held(file: Path, what: str) -> Iterator[None]:
    """Hold the lock; the kernel lets go of it when the process ends, however it ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting: another process {what}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
