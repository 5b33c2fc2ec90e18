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
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import ray
from aiohttp import web
from pydantic import ValidationError

from weft.runtime import pod_ray
from weft.runtime.actors import HEAD, AgentActor, HeadActor, WriterActor, set_up_logging
from weft.runtime.api import make_app
from weft.runtime.pod_ray import PodError, one_line, required
from weft.runtime.process import Place
from weft.runtime.remote_head import ASK_TIMEOUT, RemoteHead
from weft.runtime.status import Status
from weft_api.plan import Plan

API_PORT = 8484
HEALTH_PORT = 8485
WATCH_EVERY = 1.0
DRAIN_SECONDS = 60.0
"""Seconds for leaving in order, unless WEFT_DRAIN_SECONDS says otherwise; the pod's
terminationGracePeriodSeconds must exceed it."""

PINNED: dict[str, Any] = {"num_cpus": 0, "max_restarts": 0, "enable_task_events": False}
"""Options of a pod's actor: when it dies, so does the container, and the kubelet starts both."""

log = logging.getLogger("weft.pod")


class _HeadReplaced(Exception):
    """What this pod belonged to is gone; it begins anew. One line."""


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
    except _HeadReplaced as lost:
        log.warning("%s; this pod begins anew", lost)
        pod_ray.begin_anew()


async def _head() -> None:
    set_up_logging("head")
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    plan = _read_plan()
    place = _place(plan.pipeline, HEAD, pool="")
    remote = RemoteHead()
    # Before Ray, so that the agents of an earlier head learn at once that it is gone.
    runner = await _serve(make_app(remote, place.token), API_PORT)
    ray_process = await pod_ray.start(plan.pipeline, stopping)
    _stop_on_signals(stopping)  # Again: Ray has put its own handler in place of ours.
    actor = (
        ray.remote(HeadActor)
        .options(name=HEAD, scheduling_strategy=pod_ray.here(), **PINNED)
        .remote(place, plan.to_json(), fresh=False)
    )
    remote.actor = actor
    run = asyncio.ensure_future(_as_future(actor.run.remote()))
    log.info("the control API serves on port %d", API_PORT)
    while not stopping.is_set():
        if ray_process.poll() is not None:
            raise PodError(f"Ray ended with exit code {ray_process.returncode}")
        if run.done() and (error := run.exception()) is not None:
            raise PodError(f"the head's process died: {one_line(error)}")
        if run.done() and remote.final is None:
            # The run is over; the API goes on telling so until the operator removes the pod.
            remote.final = msgspec.json.decode(run.result(), type=Status)
            log.info("%s %s", remote.final.phase, remote.final.message)
        await _pause(stopping, WATCH_EVERY)
    actor.stop.remote()
    await runner.cleanup()
    pod_ray.end(ray_process)


async def _member(kind: type, *, pool_variable: str = "") -> None:
    name = required("POD_NAME")
    set_up_logging(name)
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    plan = _read_plan()
    health = _Health()
    runner = await _serve(health.app(), HEALTH_PORT)
    head_url = os.environ.get("WEFT_HEAD", "")
    boot = await _wait_for_head(head_url, stopping)
    ray_process = await pod_ray.start(plan.pipeline, stopping)
    _stop_on_signals(stopping)  # Again: Ray has put its own handler in place of ours.
    # A container that starts again finds its former name taken until Ray has noticed the death.
    actor_name = f"{name}-{secrets.token_hex(3)}"
    pool = required(pool_variable) if pool_variable else ""
    place = msgspec.structs.replace(_place(plan.pipeline, name, pool=pool), actor=actor_name)
    actor = (
        ray.remote(kind)
        .options(
            name=actor_name, scheduling_strategy=pod_ray.here(), num_gpus=pod_ray.gpus(), **PINNED
        )
        .remote(place)
    )
    health.actor = actor
    run = asyncio.ensure_future(_as_future(actor.run.remote()))
    over = False
    while not stopping.is_set():
        now, _ = await _head_at(head_url)
        if now and now != boot:
            # Ray itself would notice after half a minute only.
            raise _HeadReplaced("there is another head")
        if ray_process.poll() is not None:
            raise _HeadReplaced(f"Ray ended with exit code {ray_process.returncode}")
        if run.done() and not over:
            over = True
            if (error := run.exception()) is not None:
                raise PodError(f"its process died: {one_line(error)}")
            if line := run.result():
                raise PodError(line)
            log.info("the run is over")
        await _pause(stopping, WATCH_EVERY)
    if not over:
        seconds = float(os.environ.get("WEFT_DRAIN_SECONDS", DRAIN_SECONDS))
        drained = False
        with contextlib.suppress(ray.exceptions.RayError, TimeoutError):
            async with asyncio.timeout(seconds + ASK_TIMEOUT):
                drained = await _as_future(actor.drain.remote(seconds))
        log.info("left %s", "in order" if drained else "before all was settled")
    await runner.cleanup()
    pod_ray.end(ray_process)


def _read_plan() -> Plan:
    path = Path(os.environ.get("WEFT_PLAN", "/etc/weft/plan.json"))
    try:
        return Plan.from_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise PodError(
            f"{path}: the plan cannot be read ({one_line(error)}); pods get it from the operator, "
            "and WEFT_PLAN says where it is"
        ) from None


def _place(pipeline: str, name: str, *, pool: str) -> Place:
    return Place(
        name=name,
        pipeline=pipeline,
        token=required("WEFT_TOKEN"),
        bind="0.0.0.0",
        advertise=required("POD_IP"),
        pool=pool,
        revision=os.environ.get("WEFT_REVISION", ""),
        image=os.environ.get("WEFT_IMAGE", ""),
    )


async def _wait_for_head(head_url: str, stopping: asyncio.Event) -> str:
    """Its boot id, as soon as its Ray is up; "" when this pod was told of no head, or has to go.

    Not earlier, though its GCS would take others in before: on a few cores, Ray that starts in all
    pods at once exceeds its own 30 s in each (tried on two).
    There is no limit to the wait: a pod without a head lacks nothing but the head."""
    while head_url and not stopping.is_set():
        boot, up = await _head_at(head_url)
        if up:
            return boot
        await _pause(stopping, WATCH_EVERY / 2)
    return ""


class _Health:
    """`/healthz`: the pod lives; `/readyz`: its actor serves as a member."""

    def __init__(self) -> None:
        self.actor: Any = None
        """None until Ray is up."""

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes([web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)])
        return app

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _readyz(self, request: web.Request) -> web.Response:
        ready = False
        if self.actor is not None:
            with contextlib.suppress(TimeoutError, ray.exceptions.RayError):
                async with asyncio.timeout(2):
                    ready = await self.actor.ready.remote()
        return web.Response(status=200 if ready else 503)


async def _serve(app: web.Application, port: int) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()
    return runner


async def _head_at(head_url: str) -> tuple[str, bool]:
    """The head's boot id, and whether its Ray is up; ("", False) when it does not answer."""
    if not head_url:
        return "", False
    try:
        timeout = aiohttp.ClientTimeout(total=2)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{head_url}/healthz") as response,
        ):
            return str((await response.json())["boot"]), response.status == 200
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
        return "", False


def _stop_on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()


async def _as_future(ref: Any) -> Any:
    return await ref
