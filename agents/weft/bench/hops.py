"""Hops a second through the whole of Weft, and what a hop costs in CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from weft.bench import in_process
from weft.bench.embedded import Window, run_plan, serving
from weft.bench.figures import Figure, Result, at_least
from weft.bench.machine import cores, load
from weft.bench.plans import ECHOES, HOPS, echo_plan
from weft.bench.processes import DRIVER, HEAD, RAY
from weft.bench.progress import progress
from weft.bench.ray_calls import Calls
from weft.bench.traces import hops_since

CHARS = 1024
TARGETS = {1000: 30_000.0, 100: 15_000.0}
"""Rows in flight -> hops a second on two cores."""
BATCHES = (50, 256)


def measure(console: Console, *, quick: bool = False) -> Result:
    """Raises `RunFailed`."""
    rows = {1000: 16_000, 100: 8_000} if quick else {1000: 120_000, 100: 60_000}
    before = load()
    figures: list[Figure] = []
    for in_flight, target in TARGETS.items():
        figures += through_weft(console, rows=rows[in_flight], in_flight=in_flight, target=target)
    figures += _in_process(console, 2_000 if quick else 10_000)
    figures += _ray(console, 1_000 if quick else 10_000, 100 if quick else 1_000)
    return Result(
        "hops",
        f"agents that take no time (EchoAgent); {len(ECHOES)} pools of one, {HOPS} hops a row, "
        f"{CHARS:,} ± 20 % characters a turn; guarantees on, committed to Delta on local disk",
        cores(),
        before,
        {"pools": len(ECHOES), "hopsPerRow": HOPS, "characters": CHARS, "spread": 0.2},
        figures,
    )


def through_weft(console: Console, *, rows: int, in_flight: int, target: float) -> list[Figure]:
    """Rate and CPU of a whole run. Raises `RunFailed`."""
    what = f"Weft, {in_flight:,} rows in flight"
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as folder, progress(console, what) as on:
        plan = echo_plan(Path(folder) / "out", rows=rows, in_flight=in_flight, chars=CHARS)
        _, window = run_plan(plan, on, begins=serving(plan))
        hops = hops_since(plan.output.uri, window.opened)
    rate = f"from all agents serving to the last commit: {hops:,} hops in {window.seconds:.1f} s"
    cpu = 1e6 * sum(window.cpu.values()) / hops
    return [
        Figure(f"{what}: rate", hops / window.seconds, "hops/s", at_least(target), rate),
        Figure(
            f"{what}: CPU",
            cpu,
            "µs/hop",
            None,
            _split(window, hops),
        ),
    ]


def _split(window: Window, hops: int) -> str:
    """Where the CPU went."""
    shares = {
        "agents": sum(window.cpu.get(name, 0.0) for name in ECHOES),
        "writer": window.cpu.get("writer", 0.0),
        "head": window.cpu.get(HEAD, 0.0),
        "Ray": window.cpu.get(RAY, 0.0),
        "this command": window.cpu.get(DRIVER, 0.0),
    }
    return ", ".join(f"{name} {1e6 * seconds / hops:.1f}" for name, seconds in shares.items())


def _in_process(console: Console, rows: int) -> list[Figure]:
    figures = []
    for in_flight in TARGETS:
        what = f"the same in one process, {in_flight:,} rows in flight"
        with progress(console, what):
            found = in_process.measure(rows=rows, in_flight=in_flight, chars=CHARS)
        figures.append(
            Figure(
                f"{what}: CPU",
                found.total,
                "µs/hop",
                None,
                f"no transport, no commits: agent and row's codec {found.handling:.1f}, protocol "
                f"{found.protocol:.1f}, frames' codec {found.frames:.1f}; {found.bytes:,.0f} bytes "
                f"and {found.frames_per_hop:.2f} frames a hop",
            )
        )
    return figures


def _ray(console: Console, rows: int, in_flight: int) -> list[Figure]:
    figures = []
    with progress(console, "Ray actor calls"), Calls(CHARS) as calls:
        for batch in BATCHES:
            rate, cpu = calls.batched(rows, batch, in_flight)
            name = f"Ray actor calls, batches of {batch}"
            note = f"no guarantees, nothing committed; {in_flight:,} rows in flight"
            figures.append(Figure(f"{name}: rate", rate, "hops/s", None, note))
            figures.append(Figure(f"{name}: CPU", cpu, "µs/hop"))
        rate, cpu = calls.central(rows // 10, 100)
        note = "one asyncio loop, a call per hop, 100 rows in flight; no guarantees"
        figures.append(Figure("central loop over Ray calls: rate", rate, "hops/s", None, note))
        figures.append(Figure("central loop over Ray calls: CPU", cpu, "µs/hop"))
    return figures
