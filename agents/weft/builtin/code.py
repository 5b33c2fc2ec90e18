"""Programs in answers: finding them, and saying in a line why one has failed. Pure."""

from __future__ import annotations

import re

from weft.sandbox import Ran

_FENCED = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
MOST_TOLD = 300
"""Characters of the program's own error that go into the feedback."""


def program_in(text: str) -> str:
    """The last fenced block, those marked as Python before others; without any, the text."""
    blocks = _FENCED.findall(text)
    python = [body for language, body in blocks if language.lower() in ("python", "py", "python3")]
    if python:
        return str(python[-1])
    return str(blocks[-1][1]) if blocks else text


def verdict_of(ran: Ran, seconds: float) -> str | None:
    """What is wrong, in a line; None where the program has passed its tests."""
    if ran.passed:
        return None
    if ran.timed_out:
        return f"The program does not end within {seconds:g} s."
    told = [line.strip() for line in ran.output.splitlines() if line.strip()]
    if not told:
        return "The program was ended by a limit, or ended itself before its tests did."
    return f"The tests fail: {told[-1][:MOST_TOLD]}"
