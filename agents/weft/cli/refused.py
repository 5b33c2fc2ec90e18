"""What ends a command: lines for people, and the exit code."""

from __future__ import annotations

from collections.abc import Iterable

FAILED = 1
BAD_INPUT = 2
STOPPED = 3
"""In order, with rows left: a budget is spent."""


class Refused(Exception):
    """Each line is `where: problem; fix`."""

    def __init__(self, lines: str | Iterable[str], *, code: int = BAD_INPUT) -> None:
        self.lines = [lines] if isinstance(lines, str) else list(lines)
        self.code = code
        super().__init__("\n".join(self.lines))


def parted(text: str, otherwise: str) -> tuple[str, str]:
    """`problem; fix` as a pair; `otherwise` is the fix of a text that names none."""
    problem, _, fix = text.partition("; ")
    return problem, fix or otherwise
