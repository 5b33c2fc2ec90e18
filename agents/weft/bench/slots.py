"""How full a model's slots are kept, beside batches that wait for their slowest row."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import ray.data
from rich.console import Console

from weft.bench.embedded import ended, run_plan
from weft.bench.figures import Figure, Result, at_least
from weft.bench.machine import cores, load
from weft.bench.plans import make_plan
from weft.bench.progress import progress
from weft.bench.traces import busy_share, read_hops
from weft.engines import make_engine
from weft.engines.base import ChatRequest
from weft.row import ChatMessage
from weft.runtime.local import start_ray
from weft_api.plan import Plan

SLOTS = 128
MEAN = 0.5
"""Seconds of a reply."""
SIGMA = 1.0
"""Spread of the logarithm of replies' lengths."""
IN_FLIGHT = 4


def measure(console: Console, *, quick: bool = False) -> Result:
    """Raises `RunFailed`."""
    rows, batches = (SLOTS * 20, 4) if quick else (SLOTS * 80, 12)
    before = load()
    weft, busy, overall = _weft(console, rows)
    baseline, baseline_busy = _barrier(console, SLOTS * batches)
    ideal = SLOTS / MEAN
    return Result(
        "slots",
        f"a model of {SLOTS} slots (simulator engine); a reply takes log-normal time, mean "
        f"{MEAN} s, sigma {SIGMA}; {rows:,} rows of one call each; ideal {ideal:.0f} rows/s",
        cores(),
        before,
        {"slots": SLOTS, "meanSeconds": MEAN, "sigma": SIGMA, "rows": rows},
        [
            Figure(
                "slots busy until the source is exhausted",
                busy,
                "%",
                at_least(0.97),
                "from the first call to the last row's, by the rows' own traces",
            ),
            Figure("Weft: rows", weft, "rows/s", None, f"its tail included; busy {overall:.1%}"),
            Figure(
                "Ray Data: rows",
                baseline,
                "rows/s",
                None,
                f"map_batches, asyncio.gather over batches of {SLOTS}; busy {baseline_busy:.1%}",
            ),
            Figure("Weft beside Ray Data", weft / baseline, "×", at_least(4)),
        ],
    )


def _plan(output: Path, rows: int) -> Plan:
    pool = {
        "agent": "weft.bench.agents:Call",
        "concurrency": SLOTS,
        "engine": {
            "simulator": {
                "slots": SLOTS,
                "latency": {
                    "median": f"{1000 * MEAN * math.exp(-(SIGMA**2) / 2):.3f}ms",
                    "sigma": SIGMA,
                },
            }
        },
    }
    steps = [{"name": "first", "next": [{"to": "$accept"}]}]
    return make_plan(
        "slots",
        output,
        rows=rows,
        in_flight=IN_FLIGHT * SLOTS,
        steps=steps,
        pools={"first": pool},
    )


def _weft(console: Console, rows: int) -> tuple[float, float, float]:
    """Rows a second, and the slots' busy share until the source is exhausted and over all."""
    with (
        tempfile.TemporaryDirectory(prefix="weft-bench-") as folder,
        progress(console, "Weft") as on,
    ):
        output = Path(folder) / "out"
        run_plan(_plan(output, rows), on, begins=lambda status: ended(status) >= 0)
        hops = [hop for row in read_hops(output) for hop in row]
    calls = [(hop.started, hop.started + hop.calls) for hop in hops]
    exhausted = max(start for start, _ in calls)
    over = max(end for _, end in calls)
    seconds = over - min(start for start, _ in calls)
    return (
        len(calls) / seconds,
        busy_share(calls, SLOTS, exhausted),
        busy_share(calls, SLOTS, over),
    )


class Gathering:
    """What `map_batches` calls: the whole batch at once, and then it waits for all of it."""

    def __init__(self, plan_json: str) -> None:
        plan = Plan.from_json(plan_json)
        self._engine = make_engine(plan.pools[0].engine, seed=plan.seed, environ=os.environ)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return asyncio.run(self._all(batch))

    async def _all(self, batch: dict[str, Any]) -> dict[str, Any]:
        async def one(number: int) -> tuple[float, float, str]:
            request = ChatRequest(messages=[ChatMessage("user", f"first: {number}")], max_tokens=60)
            began = time.time()
            result = await self._engine.chat(request)
            return began, time.time(), result.message.content

        found = await asyncio.gather(*(one(int(number)) for number in batch["id"]))
        began, over, texts = zip(*found, strict=True)
        return {"id": batch["id"], "began": list(began), "over": list(over), "text": list(texts)}


def _barrier(console: Console, rows: int) -> tuple[float, float]:
    """Rows a second and the busy share of Ray Data, from the first call to the last reply."""
    with progress(console, "Ray Data map_batches"):
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        start_ray("slots", cpus=cores())
        try:
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            ray.data.DataContext.get_current().enable_progress_bars = False
            calls = (
                ray.data.range(rows)
                .map_batches(
                    Gathering,
                    fn_constructor_args=(_plan(Path("/unused"), rows).to_json(),),
                    batch_size=SLOTS,
                    compute=ray.data.ActorPoolStrategy(size=1),
                )
                .take_all()
            )
        finally:
            ray.shutdown()
    spans = [(call["began"], call["over"]) for call in calls]
    over = max(end for _, end in spans)
    seconds = over - min(start for start, _ in spans)
    return rows / seconds, busy_share(spans, SLOTS, over)
