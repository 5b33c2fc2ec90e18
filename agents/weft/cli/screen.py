"""Where text for people goes: the terminal, or lines that a pipe can read."""

from __future__ import annotations

from rich.console import Console

PIPE_WIDTH = 120
"""Columns where there is no terminal that has a width."""


def screen() -> Console:
    """Standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console
