"""`python -m operator_tests.scale_trial`: many pipelines, a real API server, and KubeRay.

API server, etcd, KubeRay, the operator and the load share this machine. No kubelet runs, so pods
stay pending. Printed: time from a pipeline's creation to that of its RayCluster, who used how much
of the CPU meanwhile, the operator's memory and requests, and what it writes while nothing happens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from operator_tests import apiserver
from operator_tests.samples import pipeline, pool
from operator_tests.scale_meters import Figures, Meters, percentile
from weft_operator.api import CLUSTERS, CONFIG_MAPS, PIPELINES, POOLS, SECRETS, Api

PARALLEL = 16
QUIET = 10.0
"""Seconds without a write of the operator's, after which it is at rest."""
LONGEST = 600.0
"""Seconds that all clusters, and then the rest, are waited for."""


async def trial(api: Api, url: str, meters: Meters, count: int, rate: float) -> Figures:
    """Creates so many pipelines, at so many a second (0: at once), and waits for all clusters."""
    created: dict[str, float] = {}
    made: dict[str, float] = {}
    limit = asyncio.Semaphore(PARALLEL)

    async def one(n: int) -> None:
        async with limit:
            name = f"p{n:05d}"
            created[name] = time.monotonic()
            await api.create(PIPELINES, pipeline("scale", name))
            await api.create(POOLS, pool("scale", f"{name}-drafter", of=name, step="drafter"))

    watcher = asyncio.create_task(_watch_clusters(url, made, count))
    cpu, asked = meters.cpu(), await meters.requests()
    start = time.monotonic()
    tasks = []
    for n in range(count):
        if rate:
            await asyncio.sleep(max(0.0, start + n / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one(n)))
    await asyncio.gather(*tasks)
    sent = time.monotonic() - start
    await asyncio.wait_for(watcher, LONGEST)
    window = max(made.values()) - start
    waits = sorted(made[name] - at for name, at in created.items())
    used = meters.cpu_since(cpu)
    await _settled(meters)
    return Figures(
        pipelines=count,
        rate=rate,
        cores=os.cpu_count() or 1,
        load_before=meters.load_before,
        created_a_second=count / sent,
        seconds_p50=percentile(waits, 50),
        seconds_p99=percentile(waits, 99),
        seconds_last=window,
        cpu_seconds=used,
        cpu_seconds_to_rest=meters.cpu_since(cpu),
        requests={m: n - asked.get(m, 0) for m, n in (await meters.requests()).items()},
        operator_rss_mib=meters.rss_mib(),
    )


async def _watch_clusters(url: str, made: dict[str, float], count: int) -> None:
    """Metadata only, so that its own cost stays small beside what is measured."""
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    headers = {"Accept": accept, "Authorization": f"Bearer {apiserver.TOKEN}"}
    path = CLUSTERS.path("scale")
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2 * LONGEST)) as session,
        session.get(f"{url}{path}?watch=true", headers=headers, ssl=False) as stream,
    ):
        async for line in stream.content:
            now = time.monotonic()
            made.setdefault(json.loads(line)["object"]["metadata"]["name"], now)
            if len(made) >= count:
                return


async def _settled(meters: Meters) -> None:
    """Until the operator has reported all that there is to report."""
    deadline = time.monotonic() + LONGEST
    last, since = await meters.writes(), time.monotonic()
    while time.monotonic() - since < QUIET:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the operator still writes after {LONGEST:.0f} s")
        await asyncio.sleep(1.0)
        if (now := await meters.writes()) != last:
            last, since = now, time.monotonic()


async def rest(api: Api, meters: Meters, seconds: float) -> tuple[int, int]:
    """(the operator's writes, objects that anybody has written) while nothing happens."""

    async def versions() -> dict[str, str]:
        return {
            f"{kind.plural}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
            for kind in (PIPELINES, POOLS, CONFIG_MAPS, SECRETS)
            for item in (await api.list(kind, "scale")).get("items") or ()
        }

    before, written = await versions(), await meters.writes()
    await asyncio.sleep(seconds)
    after = await versions()
    moved = sum(before.get(name) != version for name, version in after.items())
    return await meters.writes() - written, moved


async def run(count: int, rate: float, seconds: float, *, kuberay: bool) -> Figures:
    """One trial, on an API server of its own."""
    load = os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(apiserver.api_server(folder))
        apiserver.install_crds(server)
        apiserver.make_namespace(server, "scale")
        if kuberay:
            _kuberay(stack, folder, server)
        meters = _operator(stack, folder, server, load)
        async with apiserver.connect(server) as api:
            await meters.ready()
            figures = await trial(api, server.url, meters, count, rate)
            written, moved = await rest(api, meters, seconds)
        return dataclasses.replace(
            figures,
            rest_seconds=seconds,
            rest_writes=written,
            rest_objects_moved=moved,
            operator_rss_mib=max(figures.operator_rss_mib, meters.rss_mib()),
        )


def _kuberay(stack: contextlib.ExitStack, folder: Path, server: apiserver.ApiServer) -> None:
    program = apiserver.built("kuberay", "ray-operator")
    flags = ["-enable-leader-election=false", "-metrics-addr=0", "-health-probe-bind-address=0"]
    env = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    apiserver.spawn(stack, folder / "kuberay.log", [str(program), *flags], env=env)


def _operator(
    stack: contextlib.ExitStack, folder: Path, server: apiserver.ApiServer, load: float
) -> Meters:
    (port,) = apiserver.free_ports(1)
    command = [sys.executable, "-m", "weft_operator", "--image", "agents:1"]
    command += ["--no-leader-election", "--health-port", "0", "--metrics-port", str(port)]
    env = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    log = folder / "operator.log"
    process = apiserver.spawn(stack, log, command, env=env)
    stack.callback(lambda: print(log.read_text()[-2000:], file=sys.stderr))
    return Meters(process.pid, port, load)


async def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m operator_tests.scale_trial", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("--pipelines", type=int, default=1000)
    parser.add_argument(
        "--rate",
        type=float,
        action="append",
        help="a second; 0: at once; repeatable, one trial each (default: 20 and 0)",
    )
    parser.add_argument("--rest", type=float, default=60.0, help="seconds (default 60)")
    parser.add_argument("--kuberay", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures, too, as JSON")
    options = parser.parse_args(argv)
    found = []
    for rate in options.rate or (20.0, 0.0):
        found.append(await run(options.pipelines, rate, options.rest, kuberay=options.kuberay))
        print(found[-1].in_words(), flush=True)
    if options.json is not None:
        whole = [dataclasses.asdict(each) for each in found]
        options.json.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
