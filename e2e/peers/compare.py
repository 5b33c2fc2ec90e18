"""Weft beside a bare asyncio pool and batches with a barrier, on one fake LLM endpoint.

    python e2e/peers/compare.py --rows 5000

Each row makes three chained calls; the endpoint (`weft.engines.fake_endpoint`, its own process)
has 64 slots and log-normal times of mean 0.5 s and sigma 0.8, and queues what is over its slots.
For each system: rows/s, how busy the slots were until the source was exhausted (the first call of
the last row) and over the whole run, and CPU per row of all its processes (Ray's own included),
without the endpoint's. The bare pool has no guarantees: no retries, no commits, no order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any
from urllib.request import ProxyHandler, build_opener

import aiohttp
import msgspec
import psutil
import uvloop

HERE = Path(__file__).resolve().parent
STEPS = ("first", "second", "third")
SLOTS, MEAN, SIGMA = 64, 0.5, 0.8
TEXT = "A customer writes that order A-{number} has not arrived after {number} days. "


@dataclass
class Figures:
    system: str
    rows: int
    seconds: float
    rows_per_second: float
    busy_until_exhausted: float
    busy_overall: float
    cpu_ms_per_row: float


@contextmanager
def endpoint(seed: int) -> Iterator[str]:
    command = ["--slots", SLOTS, "--mean", MEAN, "--sigma", SIGMA, "--seed", seed]
    server = subprocess.Popen(
        [sys.executable, "-m", "weft.engines.fake_endpoint", *map(str, command)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait(10)


def stats(url: str, **query: float) -> dict[str, Any]:
    arguments = "&".join(f"{name}={value}" for name, value in query.items())
    address = f"{url.removesuffix('/v1')}/stats?{arguments}"
    with build_opener(ProxyHandler({})).open(address, timeout=10) as answer:
        value: dict[str, Any] = json.load(answer)
        return value


def figures(
    system: str, url: str, rows: int, *, exhausted: float, ended: float, cpu: float
) -> Figures:
    """`exhausted`, `ended`: Unix times; `cpu`: seconds of all the system's processes."""
    until, whole = stats(url, until=exhausted), stats(url, until=ended)
    assert whole["answered"] == 3 * rows, f"{system}: {whole['answered']} calls for {rows} rows"
    seconds = ended - whole["first"]
    return Figures(
        system,
        rows,
        round(seconds, 1),
        round(rows / seconds, 2),
        round(until["busyShare"], 4),
        round(whole["busyShare"], 4),
        round(1000 * cpu / rows, 2),
    )


@asynccontextmanager
async def chain(url: str) -> AsyncIterator[Any]:
    """A bare client: `await one(number)` makes a row's three calls."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one(number: int) -> None:
            said = TEXT.format(number=number)
            for step in STEPS:
                body = {
                    "model": "fake",
                    "messages": [{"role": "user", "content": f"{step}: {said}"}],
                    "max_tokens": 60,
                    "seed": number,
                }
                async with session.post(
                    f"{url}/chat/completions",
                    data=msgspec.json.encode(body),
                    headers={"Content-Type": "application/json"},
                ) as answer:
                    reply = msgspec.json.decode(await answer.read())
                said = reply["choices"][0]["message"]["content"]

        yield one


async def bare_pool(url: str, rows: int) -> Figures:
    left, exhausted = iter(range(rows)), 0.0

    async def worker(one: Any) -> None:
        nonlocal exhausted
        for number in left:
            exhausted = time.time()
            await one(number)

    cpu = time.process_time()
    async with chain(url) as one:
        await asyncio.gather(*(worker(one) for _ in range(SLOTS)))
    cpu = time.process_time() - cpu
    return figures(
        f"bare asyncio pool of {SLOTS}", url, rows, exhausted=exhausted, ended=time.time(), cpu=cpu
    )


async def barrier_batches(url: str, rows: int) -> Figures:
    exhausted, cpu = 0.0, time.process_time()
    async with chain(url) as one:
        for start in range(0, rows, SLOTS):
            exhausted = time.time()
            await asyncio.gather(
                *(one(number) for number in range(start, min(start + SLOTS, rows)))
            )
    cpu = time.process_time() - cpu
    return figures(
        f"batches of {SLOTS} with a barrier",
        url,
        rows,
        exhausted=exhausted,
        ended=time.time(),
        cpu=cpu,
    )


def weft(url: str, rows: int, in_flight: int) -> Figures:
    from weft.runtime.local import LocalRun
    from weft_api.load import load

    with tempfile.TemporaryDirectory(prefix="weft-peers-") as name:
        folder = Path(name)
        source = folder / "rows.jsonl"
        with source.open("w") as file:
            for number in range(rows):
                file.write(json.dumps({"id": number, "text": TEXT.format(number=number)}) + "\n")
        text = Template((HERE / "pipeline.yaml").read_text()).substitute(
            source=source, output=folder / "out", in_flight=in_flight, slots=SLOTS, url=url
        )
        (folder / "pipeline.yaml").write_text(text)
        plan = load([folder / "pipeline.yaml"]).compile()
        processes = Processes()
        exhausted = began = 0.0
        with LocalRun(plan, import_from=[HERE]) as run:
            while (status := run.status()) is None or status.phase in (
                "Starting",
                "Running",
                "Draining",
            ):
                if not began and status is not None and status.rows.in_flight:
                    began = time.time()
                    processes.begin()  # Not looked at again before the end: looking costs CPU too.
                if began and not exhausted and status is not None and status.rows.pending == 0:
                    exhausted = time.time()
                time.sleep(0.2)
            ended, cpu = time.time(), processes.look()
        assert status.phase == "Succeeded", status
        assert status.rows.accepted == rows, status.rows
        return figures(
            f"Weft, {in_flight} rows in flight",
            url,
            rows,
            exhausted=exhausted,
            ended=ended,
            cpu=cpu,
        )


class Processes:
    """CPU seconds of this process and all below it but the endpoint, from `begin` on."""

    def __init__(self) -> None:
        self._me = psutil.Process()
        self._spent: dict[int, float] = {}
        self._before: dict[int, float] = {}

    def begin(self) -> None:
        self.look()
        self._before = dict(self._spent)

    def look(self) -> float:
        for process in [self._me, *self._me.children(recursive=True)]:
            try:
                if "weft.engines.fake_endpoint" in process.cmdline():
                    continue
                times = process.cpu_times()
                self._spent[process.pid] = times.user + times.system
            except psutil.NoSuchProcess:
                continue
        return sum(self._spent.values()) - sum(self._before.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=5000)
    # Rows count as in flight until they are committed, so more than the slots can be busy with.
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--barrier-rows", type=int, default=640, help="it is slow: fewer rows")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    given = parser.parse_args()
    found: list[Figures] = []
    ideal = SLOTS / MEAN / len(STEPS)
    print(
        f"{SLOTS} slots, log-normal mean {MEAN} s, sigma {SIGMA}; {len(STEPS)} chained calls a "
        f"row; ideal {ideal:.1f} rows/s; {psutil.cpu_count()} cores\n\n"
        "| system | rows | rows/s | slots busy until exhausted | overall | CPU ms per row |\n"
        "|---|---|---|---|---|---|",
        flush=True,
    )
    for number in range(3):
        # The same seed each time: all three face the same spread of times.
        with endpoint(seed=1) as url:
            if number == 0:
                one = uvloop.run(barrier_batches(url, min(given.rows, given.barrier_rows)))
            elif number == 1:
                one = uvloop.run(bare_pool(url, given.rows))
            else:
                one = weft(url, given.rows, given.in_flight)
        found.append(one)
        print(
            f"| {one.system} | {one.rows} | {one.rows_per_second} "
            f"| {one.busy_until_exhausted:.1%} | {one.busy_overall:.1%} | {one.cpu_ms_per_row} |",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
