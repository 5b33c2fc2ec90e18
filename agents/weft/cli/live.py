"""The live view of a run in a terminal."""

from __future__ import annotations

import os
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from weft.cli import units
from weft.cli.checks import Checked
from weft.cli.progress import Progress
from weft.cli.summary import COLOURS, short_path
from weft.runtime.status import Status

REFRESH = 4
"""Pictures a second; the figures change less often, the spinner and the clock do."""


SLOW_START = 10.0
"""Seconds of starting after which the view looks for a reason."""


class LiveView:
    """Steps, rows and time left; drawn again in place."""

    def __init__(self, console: Console, checked: Checked) -> None:
        self._console = console
        self._checked = checked
        self._began = time.monotonic()
        self._what = ""
        self._since = self._began
        self._progress: Progress | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            console=console, refresh_per_second=REFRESH, transient=True, get_renderable=self._draw
        )
        self._live.start()

    def starting(self, what: str) -> None:
        self._what, self._since = what, time.monotonic()

    def update(self, progress: Progress) -> None:
        self._progress = progress
        self._what = ""

    def say(self, line: str) -> None:
        self._live.console.print(line)

    def close(self, final: Status | None) -> None:
        self._live.stop()

    def _draw(self) -> RenderableType:
        parts: list[RenderableType] = [self._title()]
        progress = self._progress
        if progress is not None:
            parts += [_steps(progress)] if progress.pools else []
            parts += [_rows(progress), _bar(progress)]
            if progress.trouble:
                parts.append(Text(f"! {progress.trouble}", "yellow"))
        if waiting := self._waiting():
            self._spinner.update(text=Text(waiting, "dim"))
            parts.append(self._spinner)
        return Group(*parts)

    def _title(self) -> Text:
        plan, progress = self._checked.plan, self._progress
        title = Text()
        title.append(plan.pipeline, "bold")
        title.append(f"  {progress.status.phase if progress else 'Starting'}", "cyan")
        title.append(f"  {units.seconds(time.monotonic() - self._began)}", "dim")
        title.append(f"  → {short_path(plan.output.uri)}", "dim")
        return title

    def _waiting(self) -> str:
        """What is waited for at the start, or at the end."""
        if self._what:
            waited = time.monotonic() - self._since
            return f"{self._what} … {units.seconds(waited)}{machine_is_busy(waited)}"
        if self._progress is not None and self._progress.starting:
            return f"waiting for {', '.join(self._progress.starting)}"
        return ""


def machine_is_busy(waited: float) -> str:
    """Why a start takes long, where the machine's load tells: Ray's takes seconds of CPU."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if waited < SLOW_START or load < 2 * cores:
        return ""
    return f" (this machine is busy: load {load:.0f} on {cores} cores)"


def _steps(progress: Progress) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("step")
    several = any(pool.name != pool.step for pool in progress.pools)
    if several:
        table.add_column("pool")
    for heading in ("agents", "waiting", "in flight", "hops/s", "tokens/s", "tokens"):
        table.add_column(heading, justify="right")
    for pool in progress.pools:
        table.add_row(
            pool.step,
            *([pool.name] if several else []),
            Text(f"{pool.up}/{pool.wanted}", "green" if pool.up >= pool.wanted else "yellow"),
            f"{pool.inbox:,}",
            f"{pool.in_flight:,}",
            units.rate(pool.hops_per_second),
            units.rate(pool.tokens_per_second) if pool.tokens else "–",
            units.count(pool.tokens) if pool.tokens else "–",
        )
    return table


def _rows(progress: Progress) -> Text:
    rows = progress.status.rows
    text = Text()
    for name, count in (
        ("accepted", rows.accepted),
        ("rejected", rows.rejected),
        ("dead", rows.dead),
    ):
        text.append(f"{count:,} ", f"bold {COLOURS[name]}" if count else "dim")
        text.append(f"{name}   ", "dim")
    text.append(f"{rows.in_flight:,} ")
    text.append("under way   ", "dim")
    if rows.committing:
        text.append(f"{rows.committing:,} ")
        text.append("to commit   ", "dim")
    if rows.pending is not None:
        text.append(f"{rows.pending:,} ")
        text.append("to come", "dim")
    return text


def _bar(progress: Progress) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    rows = progress.status.rows
    total = rows.total if rows.target is None else rows.target
    made = progress.ended if rows.target is None else rows.accepted
    table.add_row(
        ProgressBar(
            total=total,
            completed=made,
            width=40,
            pulse=total is None,
        ),
        f"{made:,}" + (f" / {total:,}" if total is not None else " rows"),
        f"{progress.share:.0%}" if progress.share is not None else "",
        f"{units.rate(progress.rows_per_second)} rows/s",
        f"{units.seconds(progress.left)} left" if progress.left is not None else "",
    )
    return table
