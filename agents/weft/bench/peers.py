"""Weft beside what people write by hand, on one fake endpoint: three chained calls a row."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console

from weft.bench import bare
from weft.bench.embedded import run_plan
from weft.bench.endpoint import MODULE, Endpoint, endpoint
from weft.bench.figures import Figure, Result, at_least, at_most
from weft.bench.machine import cores, load
from weft.bench.plans import make_plan
from weft.bench.progress import Progress, progress
from weft.runtime.local import LocalRun, RunFailed
from weft.runtime.status import Status

SLOTS, MEAN, SIGMA = 64, 0.5, 0.8
STEPS = ("first", "second", "third")
IN_FLIGHT = 256
TEXT = "A customer writes that order A-{number} has not arrived after {number} days. "

_Bare = Callable[[str, int, int, tuple[str, ...], str], Awaitable[bare.Spent]]


class _Found(msgspec.Struct):
    rows: int
    per_second: float
    busy: float
    """Of the slots, until the source is exhausted."""
    overall: float
    cpu: dict[str, float]
    """Milliseconds a row, by role of process."""


def measure(console: Console, *, quick: bool = False) -> Result:
    """Raises `RunFailed`."""
    rows, barrier_rows = (300, 128) if quick else (5000, 320)
    before = load()
    batches = _measured(console, f"batches of {SLOTS}", barrier_rows, _bare(bare.barrier))
    pool = _measured(console, f"a bare asyncio pool of {SLOTS}", rows, _bare(bare.pool))
    weft = _measured(console, "Weft", rows, _weft)
    figures = [
        Figure(
            "Weft: slots busy until the source is exhausted",
            weft.busy,
            "%",
            at_least(0.97),
            f"overall {weft.overall:.1%}",
        ),
        Figure(
            "Weft: rows",
            weft.per_second,
            "rows/s",
            at_least(round(pool.per_second, 2)),
            "the limit is the bare pool's, in this run; the tail is included",
        ),
        Figure(
            "Weft: CPU",
            sum(weft.cpu.values()),
            "ms/row",
            at_most(5),
            "all processes but the endpoint, from the first row on: "
            + ", ".join(f"{role} {cost:.2f}" for role, cost in sorted(weft.cpu.items())),
        ),
    ]
    for name, found in (("bare asyncio pool", pool), (f"batches of {SLOTS}", batches)):
        figures += [
            Figure(
                f"{name}: rows",
                found.per_second,
                "rows/s",
                None,
                f"{found.rows:,} rows, no guarantees; slots busy {found.busy:.1%}, overall "
                f"{found.overall:.1%}",
            ),
            Figure(f"{name}: CPU", sum(found.cpu.values()), "ms/row"),
        ]
    ideal = SLOTS / MEAN / len(STEPS)
    return Result(
        "peers",
        f"a fake OpenAI endpoint of {SLOTS} slots, log-normal times of mean {MEAN} s, sigma "
        f"{SIGMA}; {rows:,} rows, {len(STEPS)} chained calls each, {IN_FLIGHT} rows in flight; "
        f"ideal {ideal:.1f} rows/s",
        cores(),
        before,
        {"slots": SLOTS, "meanSeconds": MEAN, "sigma": SIGMA, "rows": rows},
        figures,
    )


_System = Callable[[Endpoint, int, Progress], bare.Spent]


def _measured(console: Console, what: str, rows: int, system: _System) -> _Found:
    with endpoint(slots=SLOTS, mean=MEAN, sigma=SIGMA) as served, progress(console, what) as on:
        spent = system(served, rows, on)
        until, whole = served.stats(until=spent.exhausted), served.stats(until=spent.ended)
    if whole["answered"] != len(STEPS) * rows:
        raise RunFailed(f"{what}: {whole['answered']} calls for {rows} rows of {len(STEPS)}")
    return _Found(
        rows,
        rows / (spent.ended - whole["first"]),
        until["busyShare"],
        whole["busyShare"],
        {role: 1000 * seconds / rows for role, seconds in spent.cpu.items()},
    )


def _bare(system: _Bare) -> _System:
    def run(served: Endpoint, rows: int, on: Progress) -> bare.Spent:
        async def whole() -> bare.Spent:
            return await system(served.url, rows, SLOTS, STEPS, TEXT)

        return uvloop.run(whole())

    return run


def _weft(served: Endpoint, rows: int, on: Progress) -> bare.Spent:
    exhausted = 0.0

    def watch(run: LocalRun, status: Status) -> None:
        nonlocal exhausted
        if not exhausted and status.rows.pending == 0:
            exhausted = time.time()

    pool = {
        "agent": "weft.bench.agents:Call",
        "concurrency": SLOTS,
        "engine": {"openai": {"baseURL": served.url, "model": "fake", "maxConcurrency": SLOTS}},
    }
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as name:
        folder = Path(name)
        source = folder / "rows.jsonl"
        with source.open("w") as file:
            for number in range(rows):
                file.write(json.dumps({"id": number, "text": TEXT.format(number=number)}) + "\n")
        plan = make_plan(
            "peers",
            folder / "out",
            rows=rows,
            in_flight=IN_FLIGHT,
            steps=[
                {"name": step, "next": [{"to": after}]}
                for step, after in zip(STEPS, [*STEPS[1:], "$accept"], strict=True)
            ],
            pools=dict.fromkeys(STEPS, pool),
            source={"dataset": {"uri": str(source), "format": "jsonl"}},
            commit_interval="5s",  # As in a manifest that does not say.
        )
        status, window = run_plan(
            plan,
            on,
            begins=lambda status: status.rows.in_flight > 0,
            watch=watch,
            without=MODULE,
        )
    # The head's clock says when the last row was in; what comes after is the end of the processes.
    return bare.Spent(exhausted, status.started + status.elapsed, window.cpu)
