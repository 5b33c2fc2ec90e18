"""How far a table is, cheaply enough to look many times a second."""

from __future__ import annotations

from pathlib import Path


class Commits:
    """Counts the commits of a Delta table that brought rows. A writer's claim of its partition
    brings none, and neither does a file that never became part of the table."""

    def __init__(self, table: Path) -> None:
        self._log = table / "_delta_log"
        self._next = 0
        self._count = 0

    def count(self) -> int:
        """So far. Reads what is new in the log."""
        while True:
            try:
                entry = (self._log / f"{self._next:020}.json").read_bytes()
            except FileNotFoundError:
                return self._count
            self._next += 1
            self._count += b'{"add":' in entry
