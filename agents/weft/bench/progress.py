"""A line that shows how far a benchmark is: in place on a terminal, now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status as Spinner

PLAIN_EVERY = 10.0
"""Seconds between lines where there is no terminal."""


class Progress:
    def __init__(self, console: Console, what: str, spinner: Spinner | None) -> None:
        self._console = console
        self._what = what
        self._spinner = spinner
        self._told = time.monotonic()

    def update(self, done: int, total: int) -> None:
        """`total` 0: unknown."""
        said = f"{self._what}: {done:,}" + (f" of {total:,}" if total else "")
        if self._spinner is not None:
            self._spinner.update(said)
        elif time.monotonic() - self._told >= PLAIN_EVERY:
            self._told = time.monotonic()
            self._console.print(said, style="dim")


@contextmanager
def progress(console: Console, what: str) -> Iterator[Progress]:
    if console.is_terminal:
        with console.status(what) as spinner:
            yield Progress(console, what, spinner)
    else:
        console.print(f"{what} …", style="dim")
        yield Progress(console, what, None)
