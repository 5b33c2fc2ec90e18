"""`python -m operator_tests.scale_trial`: many pipelines, a real API server, and KubeRay.

API server, etcd, KubeRay, the operator and the load share this machine. No kubelet runs, so pods
stay pending. Printed: time from a pipeline's creation to that of its RayCluster, the operator's
memory and CPU, and what it writes while nothing happens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import psutil

from operator_tests import apiserver
from operator_tests.samples import pipeline, pool
from weft_operator.api import CLUSTERS, PIPELINES, POOLS, Api, Kind
from weft_operator.jsontypes import Object

PARALLEL = 16


async def trial(api: Api, url: str, process: psutil.Process, count: int, rate: float) -> None:
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
    cpu = process.cpu_times()
    start = time.monotonic()
    tasks = []
    for n in range(count):
        if rate:
            await asyncio.sleep(max(0.0, start + n / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one(n)))
    await asyncio.gather(*tasks)
    sent = time.monotonic() - start
    await asyncio.wait_for(watcher, 180)
    last = max(made.values()) - start
    waits = sorted(made[name] - at for name, at in created.items())
    after = process.cpu_times()
    used = after.user + after.system - cpu.user - cpu.system
    how = f"at {rate:g}/s" if rate else "at once"
    print(
        f"{count} pipelines {how}: created at {count / sent:.0f}/s; to the RayCluster "
        f"p50 {waits[len(waits) // 2]:.2f} s, p99 {waits[int(len(waits) * 0.99)]:.2f} s; the last "
        f"after {last:.1f} s; operator {used / count * 1000:.1f} CPU ms each",
        flush=True,
    )


async def _watch_clusters(url: str, made: dict[str, float], count: int) -> None:
    """Metadata only, so that its own cost stays small beside what is measured."""
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    headers = {"Accept": accept, "Authorization": f"Bearer {apiserver.TOKEN}"}
    path = CLUSTERS.path("scale")
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}{path}?watch=true", headers=headers, ssl=False) as stream,
    ):
        async for line in stream.content:
            now = time.monotonic()
            made.setdefault(json.loads(line)["object"]["metadata"]["name"], now)
            if len(made) >= count:
                return


async def rest(api: Api, process: psutil.Process, seconds: float) -> None:
    """Whether anything of the operator's moves while nothing happens."""

    async def versions() -> dict[str, str]:
        found = {}
        for kind in (PIPELINES, POOLS, Kind("", "v1", "configmaps"), Kind("", "v1", "secrets")):
            for item in (await api.list(kind, "scale")).get("items") or ():
                meta: Object = item["metadata"]
                found[f"{kind.plural}/{meta['name']}"] = meta["resourceVersion"]
        return found

    await asyncio.sleep(15)
    before = await versions()
    await asyncio.sleep(seconds)
    after = await versions()
    moved = [name for name, version in after.items() if before.get(name) != version]
    print(
        f"at rest for {seconds:.0f} s: {len(moved)} of {len(after)} objects written; "
        f"operator RSS {process.memory_info().rss >> 20} MiB",
        flush=True,
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1] if __doc__ else "")
    parser.add_argument("--pipelines", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20.0, help="a second; 0: at once")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds")
    parser.add_argument("--kuberay", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(apiserver.api_server(folder))
        apiserver.install_crds(server)
        apiserver.make_namespace(server, "scale")
        api = apiserver.connect(server)
        if options.kuberay:
            _kuberay(stack, folder, server)
        process = _operator(stack, folder, server)
        await asyncio.sleep(5)
        print(f"operator RSS at start {process.memory_info().rss >> 20} MiB", flush=True)
        await trial(api, server.url, process, options.pipelines, options.rate)
        await rest(api, process, options.rest)
        await api.close()


def _kuberay(stack: contextlib.ExitStack, folder: Path, server: apiserver.ApiServer) -> None:
    program = apiserver.built("kuberay", "ray-operator")
    flags = ["-enable-leader-election=false", "-metrics-addr=0", "-health-probe-bind-address=0"]
    env = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    apiserver.spawn(stack, folder / "kuberay.log", [str(program), *flags], env=env)


def _operator(
    stack: contextlib.ExitStack, folder: Path, server: apiserver.ApiServer
) -> psutil.Process:
    command = [sys.executable, "-m", "weft_operator", "--image", "agents:1"]
    command += ["--no-leader-election", "--health-port", "0", "--metrics-port", "0"]
    env = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    log = folder / "operator.log"
    process: subprocess.Popen[bytes] = apiserver.spawn(stack, log, command, env=env)
    stack.callback(lambda: print(log.read_text()[-2000:]))
    return psutil.Process(process.pid)


if __name__ == "__main__":
    asyncio.run(main())
