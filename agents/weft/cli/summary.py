"""What a run came to: every row accounted for, where the output is, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from weft.cli import units
from weft.cli.progress import ended
from weft.cli.reasons import grouped
from weft.cli.stored import Stored
from weft.data.errors import OutputError
from weft.data.storage import local_path
from weft.runtime.status import Status

MOST_REASONS = 3
SIMULATED = "simulator: replies are made up; --engine openai --model NAME asks a real model"
COLOURS = {"accepted": "green", "rejected": "yellow", "dead": "red"}


def summary(status: Status, done: Mapping[str, int], *, simulated: bool) -> RenderableType:
    """`done`: rows found committed when the run began, by status. `simulated`: no real model was
    asked."""
    parts: list[RenderableType] = [_figures(status, done, simulated)]
    if status.rows.dead:
        parts.append(_dead(status))
    parts.append(_next(status))
    return Group(*parts)


def _figures(status: Status, done: Mapping[str, int], simulated: bool) -> Table:
    rows = status.rows
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("rows", accounted(status))
    before = sum(done.values())
    if before:
        table.add_row("found done", f"{before:,} at the start of this run")
    made = max(0, ended(status) - before)
    if made and status.elapsed:
        speed = units.rate(made / status.elapsed)
        table.add_row("made now", f"{made:,} in {units.seconds(status.elapsed)} ({speed} rows/s)")
    if status.tokens.prompt or status.tokens.completion:
        tokens = status.tokens
        table.add_row(
            "tokens", f"{tokens.prompt:,} prompt, {tokens.completion:,} completion (all runs)"
        )
    if status.cost is not None:
        table.add_row("cost", f"{status.cost} by the price table (all runs)")
    if simulated:
        table.add_row("engine", SIMULATED)
    if rows.reissued:
        table.add_row("begun again", f"{rows.reissued:,} rows, after a process had died")
    table.add_row("output", f"{short_path(status.output.uri)} (Delta table)")
    if status.message and (status.phase != "Succeeded" or rows.target is not None):
        table.add_row("message", Text(status.message))
    return table


def accounted(status: Status) -> Text:
    """`540 accepted + 48 rejected + 12 dead = 600 of 600 source rows`"""
    rows = status.rows
    text = Text()
    for name, count in (
        ("accepted", rows.accepted),
        ("rejected", rows.rejected),
        ("dead", rows.dead),
    ):
        text.append(" + " if text else "")
        text.append(f"{count:,} {name}", COLOURS[name] if count else "")
    done = ended(status)
    text.append(f" = {done:,}")
    if rows.total is not None and done <= rows.total:
        text.append(f" of {rows.total:,} source rows", "bold" if done == rows.total else "")
        if done < rows.total and rows.target is None:
            text.append(f"; {rows.total - done:,} are left for the next run")
    else:
        text.append(" rows")
    return text


def _dead(status: Status) -> RenderableType:
    try:
        kinds, rest = grouped(Stored(status.output.uri).reasons("dead"), MOST_REASONS)
    except OutputError as error:
        return Text(f"Why rows died cannot be read: {error}", "red")
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="red")
    table.add_column(overflow="fold")
    for count, reason in kinds:
        table.add_row(f"{count:,} ×", Text(reason))
    if rest:
        table.add_row(f"{rest:,} ×", "other reasons")
    return Group(Text(f"\n{status.rows.dead:,} rows are dead:", "red"), table)


def _next(status: Status) -> Text:
    uri = shlex.quote(short_path(status.output.uri))
    lines = []
    if not status.finished:
        lines.append(("the same command again", "goes on where this run ended"))
    if status.rows.accepted:
        lines.append((f"weft show {uri}", "a row as a dialogue"))
        lines.append((f"weft export {uri} data.jsonl", "for training"))
    if status.rows.dead:
        lines.append((f"weft show {uri} --status dead", "a row that died, and why"))
    elif status.rows.rejected:
        lines.append((f"weft show {uri} --status rejected", "a row that was not good enough"))
    if not lines:
        return Text()
    width = max(len(command) for command, _ in lines)
    text = Text("\n")
    for number, (command, what) in enumerate(lines):
        text.append("\n" if number else "")
        text.append(command.ljust(width), "cyan")
        text.append(f"   {what}", "dim")
    return text


def short_path(uri: str) -> str:
    """A local path relative to the working directory where that is shorter."""
    path = local_path(uri)
    if path is None:
        return uri
    try:
        relative = str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
    return relative
