"""Entry points of a cluster's pods: start Ray as KubeRay says, then one actor on this very node.

KubeRay leaves the pod's own command alone (`ray.io/overwrite-container-cmd: "true"`) and puts the
line that it would have run into `KUBERAY_GEN_RAY_START_CMD`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import ray
from aiohttp import web
from pydantic import ValidationError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from weft.runtime.actors import HEAD, AgentActor, HeadActor, WriterActor, set_up_logging
from weft.runtime.api import make_app
from weft.runtime.process import Place
from weft.runtime.status import Status
from weft_api.plan import Plan

API_PORT = 8484
HEALTH_PORT = 8485
RAY_TIMEOUT = 300.0
"""Seconds until this pod's Ray must have joined."""
WATCH_EVERY = 1.0
DRAIN_SECONDS = 60.0
"""Seconds for leaving in order, unless WEFT_DRAIN_SECONDS says otherwise; the pod's
terminationGracePeriodSeconds must exceed it."""
ASK_TIMEOUT = 10.0

PINNED: dict[str, Any] = {"num_cpus": 0, "max_restarts": 0, "enable_task_events": False}
"""Options of a pod's actor: when it dies, so does the container, and the kubelet starts both."""

log = logging.getLogger("weft.pod")


class PodError(Exception):
    """This pod cannot serve. One line."""


def head() -> None:
    """`weft head`: the directory, the source and the control API."""
    _run("head", _head())


def agent() -> None:
    """`weft agent`: one agent of the pool WEFT_POOL."""
    _run("agent", _member(AgentActor, pool_variable="WEFT_POOL"))


def writer() -> None:
    """`weft writer`: one writer of the output."""
    _run("writer", _member(WriterActor))


def _run(command: str, life: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(life)
    except PodError as error:
        raise SystemExit(f"weft {command}: {error}") from None


async def _head() -> None:
    set_up_logging("head")
    stopping = _on_signals()
    plan = _read_plan()
    ray_process = _start_ray(plan.pipeline)
    place = _place(plan.pipeline, HEAD, pool="")
    actor = (
        ray.remote(HeadActor)
        .options(name=HEAD, scheduling_strategy=_here(), **PINNED)
        .remote(place, plan.to_json(), fresh=False)
    )
    remote = _RemoteHead(actor)
    run = asyncio.ensure_future(_as_future(actor.run.remote()))
    runner = web.AppRunner(make_app(remote, place.token), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", API_PORT).start()
    log.info("the control API serves on port %d", API_PORT)
    while not stopping.is_set():
        if ray_process.poll() is not None:
            raise PodError(f"Ray ended with exit code {ray_process.returncode}")
        if run.done() and remote.final is None:
            # The run is over; the API goes on telling so until the operator removes the pod.
            remote.final = msgspec.json.decode(run.result(), type=Status)
            log.info("%s %s", remote.final.phase, remote.final.message)
        await _pause(stopping, WATCH_EVERY)
    actor.stop.remote()
    await runner.cleanup()
    _end_ray(ray_process)


async def _member(kind: type, *, pool_variable: str = "") -> None:
    name = _required("POD_NAME")
    set_up_logging(name)
    stopping = _on_signals()
    plan = _read_plan()
    ray_process = _start_ray(plan.pipeline)
    # A container that starts again finds its former name taken until Ray has noticed the death.
    actor_name = f"{name}-{secrets.token_hex(3)}"
    pool = _required(pool_variable) if pool_variable else ""
    place = msgspec.structs.replace(_place(plan.pipeline, name, pool=pool), actor=actor_name)
    actor = (
        ray.remote(kind)
        .options(name=actor_name, scheduling_strategy=_here(), num_gpus=_gpus(), **PINNED)
        .remote(place)
    )
    run = asyncio.ensure_future(_as_future(actor.run.remote()))
    runner = await _serve_health(actor)
    head_boot = ""
    while not (stopping.is_set() or run.done()):
        if ray_process.poll() is not None:
            raise PodError(f"Ray ended with exit code {ray_process.returncode}")
        boot = await _boot_of(os.environ.get("WEFT_HEAD", ""))
        if boot and head_boot and boot != head_boot:
            # Ray itself would notice after half a minute only.
            raise PodError("the head is another one now; this pod joins its Ray afresh")
        head_boot = boot or head_boot
        await _pause(stopping, WATCH_EVERY)
    if run.done():
        if line := run.result():
            raise PodError(line)
        log.info("the run is over")
        await stopping.wait()
    else:
        seconds = float(os.environ.get("WEFT_DRAIN_SECONDS", DRAIN_SECONDS))
        drained = False
        with contextlib.suppress(ray.exceptions.RayError, TimeoutError):
            async with asyncio.timeout(seconds + ASK_TIMEOUT):
                drained = await _as_future(actor.drain.remote(seconds))
        log.info("left %s", "in order" if drained else "before all was settled")
    await runner.cleanup()
    _end_ray(ray_process)


class _RemoteHead:
    """The head's actor, as the control API asks it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self.final: Status | None = None

    async def status(self) -> Status | None:
        if self.final is not None:
            return self.final
        answer = await self._ask(self._actor.status.remote())
        return msgspec.json.decode(answer, type=Status) if answer else None

    async def plan(self) -> str:
        return str(await self._ask(self._actor.plan.remote()))

    async def update(self, plan_json: str) -> str:
        return str(await self._ask(self._actor.update.remote(plan_json)))

    async def drain(self) -> None:
        await self._ask(self._actor.drain.remote())

    async def _ask(self, ref: Any) -> Any:
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                return await ref
        except (TimeoutError, ray.exceptions.RayError) as error:
            raise ConnectionError(str(error).split("\n")[0] or type(error).__name__) from None


def _read_plan() -> Plan:
    path = Path(os.environ.get("WEFT_PLAN", "/etc/weft/plan.json"))
    try:
        return Plan.from_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise PodError(f"{path}: the plan cannot be read: {error}") from None


def _place(pipeline: str, name: str, *, pool: str) -> Place:
    return Place(
        name=name,
        pipeline=pipeline,
        token=_required("WEFT_TOKEN"),
        bind="0.0.0.0",
        advertise=_required("POD_IP"),
        pool=pool,
        revision=os.environ.get("WEFT_REVISION", ""),
        image=os.environ.get("WEFT_IMAGE", ""),
    )


def _required(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise PodError(f"the environment variable {name} is not set; the operator sets it")
    return value


def _gpus() -> float:
    """GPUs that the pod's Ray node has: all of them are the actor's."""
    mine = ray.get_runtime_context().get_node_id()
    for node in ray.nodes():
        if node["NodeID"] == mine:
            return float(node["Resources"].get("GPU", 0))
    return 0.0


def _here() -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _start_ray(namespace: str) -> subprocess.Popen[bytes]:
    """Run KubeRay's start line as a child and connect to it."""
    command = _required("KUBERAY_GEN_RAY_START_CMD")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    raise_limit = "ulimit -n 65536 2>/dev/null"  # Denied to some users; the default may do.
    process = subprocess.Popen(["/bin/bash", "-c", f"{raise_limit}; exec {command}"])
    deadline = time.monotonic() + RAY_TIMEOUT
    while True:
        try:
            # What the actor logs goes to the pod's log by way of the driver.
            ray.init(
                address="auto", namespace=namespace, log_to_driver=True, configure_logging=False
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            if process.poll() is not None:
                raise PodError(f"Ray did not start: exit code {process.returncode}") from None
            if time.monotonic() > deadline:
                raise PodError(f"Ray did not come up in {RAY_TIMEOUT:g} s: {error}") from None
            time.sleep(0.5)
        else:
            return process


def _end_ray(process: subprocess.Popen[bytes]) -> None:
    ray.shutdown()
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()


async def _serve_health(actor: Any) -> web.AppRunner:
    """`/healthz`: the pod lives; `/readyz`: its actor serves as a member."""

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(request: web.Request) -> web.Response:
        ready = False
        with contextlib.suppress(TimeoutError, ray.exceptions.RayError):
            async with asyncio.timeout(2):
                ready = await actor.ready.remote()
        return web.Response(status=200 if ready else 503)

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", HEALTH_PORT).start()
    return runner


async def _boot_of(head_url: str) -> str:
    """The head's boot id; "" when it does not answer."""
    if not head_url:
        return ""
    try:
        timeout = aiohttp.ClientTimeout(total=2)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{head_url}/healthz") as response,
        ):
            return str((await response.json())["boot"])
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
        return ""


def _on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()


async def _as_future(ref: Any) -> Any:
    return await ref
