"""Results as tables for people and as JSON for machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from weft.bench.figures import Figure, Result


def show(console: Console, result: Result) -> None:
    """The result as a table, what was simulated above it."""
    console.print(f"\n[bold]{result.bench}[/bold]: {result.simulated}")
    where = f"{result.cores} cores, load {result.load:.1f} before the start"
    console.print(f"{where}; Python {result.python}, {result.step:.0f} ns a step", style="dim")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("figure", "value", "limit", "", "how"):
        right = heading in ("value", "limit")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for figure in result.figures:
        table.add_row(figure.name, _valued(figure), _limit(figure), _verdict(figure), figure.note)
    console.print(table)


def write(path: Path, results: Sequence[Result]) -> None:
    """All results as a JSON list. Raises `OSError`."""
    plain = [msgspec.to_builtins(result) for result in results]
    for found, result in zip(plain, results, strict=True):
        for shown, figure in zip(found["figures"], result.figures, strict=True):
            shown["met"] = figure.met
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n")


def number(value: float) -> str:
    """Three significant digits where there are few, none after the point where there are many."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _valued(figure: Figure) -> str:
    return f"{figure.value:.1%}" if figure.unit == "%" else f"{number(figure.value)} {figure.unit}"


def _limit(figure: Figure) -> str:
    if figure.limit is None:
        return ""
    sign = "≥" if figure.limit.kind == "at least" else "≤"
    value = figure.limit.value
    return f"{sign} {value:.0%}" if figure.unit == "%" else f"{sign} {number(value)}"


def _verdict(figure: Figure) -> Text:
    if figure.met is None:
        return Text("")
    return Text("held", "green") if figure.met else Text("missed", "red")
