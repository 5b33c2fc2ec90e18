"""What it costs that nothing is lost, doubled or out of order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console

from weft.bench import in_process
from weft.bench.embedded import run_plan, serving
from weft.bench.figures import Figure, Result, at_most
from weft.bench.machine import cores, load
from weft.bench.plans import ECHOES, HOPS, echo_plan
from weft.bench.progress import progress
from weft.bench.traces import hops_since

CHARS = 1024
IN_FLIGHT = 1000
TIMES = 3


def measure(console: Console, *, quick: bool = False) -> Result:
    """Raises `RunFailed`."""
    before = load()
    rows = 1_500 if quick else 8_000
    with_it: list[float] = []
    without: list[float] = []
    for _ in range(TIMES):  # In turns, so that what else the machine does meets both.
        with progress(console, "the machines in one process, with the guarantee and without"):
            with_it.append(in_process.measure(rows=rows, in_flight=IN_FLIGHT).total)
            without.append(
                in_process.measure(rows=rows, in_flight=IN_FLIGHT, guaranteed=False).total
            )
    whole, writer = _whole(console, 8_000 if quick else 60_000)
    kept = median(with_it) - median(without)
    spread = f"of {TIMES}: {min(with_it):.1f} to {max(with_it):.1f}"
    return Result(
        "guarantee",
        f"agents that take no time (EchoAgent), {HOPS} hops a row, {CHARS:,} ± 20 % characters a "
        f"turn, {IN_FLIGHT:,} rows in flight",
        cores(),
        before,
        {"hopsPerRow": HOPS, "characters": CHARS, "rowsInFlight": IN_FLIGHT},
        [
            Figure("in one process: a hop", median(with_it), "µs of CPU", None, spread),
            Figure(
                "in one process: the same, sent and forgotten",
                median(without),
                "µs of CPU",
                None,
                f"of {TIMES}: {min(without):.1f} to {max(without):.1f}; no copies, "
                "acknowledgements, settlements, fences, joins or commits",
            ),
            Figure("through the whole of Weft: a hop", whole, "µs of CPU"),
            Figure(
                "of it, copies, acknowledgements, settlements, fences",
                kept / whole,
                "%",
                at_most(0.25),
                f"{kept:.1f} µs: the difference above",
            ),
            Figure(
                "of it, those and all of the writer's work",
                (kept + writer) / whole,
                "%",
                None,
                f"the writer {writer:.1f} µs: joins, Parquet, commits",
            ),
        ],
    )


def _whole(console: Console, rows: int) -> tuple[float, float]:
    """CPU per hop of a whole run, and the writer's part of it, in microseconds."""
    with (
        tempfile.TemporaryDirectory(prefix="weft-bench-") as folder,
        progress(console, f"Weft, {rows:,} rows") as on,
    ):
        plan = echo_plan(Path(folder) / "out", rows=rows, in_flight=IN_FLIGHT, chars=CHARS)
        _, window = run_plan(plan, on, begins=serving(plan))
        hops = hops_since(plan.output.uri, window.opened)
    roles = {name: 1e6 * seconds / hops for name, seconds in window.cpu.items()}
    assert set(ECHOES) <= roles.keys()
    return sum(roles.values()), roles.get("writer", 0.0)
