"""One replica's life: serve health, wait for the Lease, lead until it is lost or told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from dataclasses import replace

import kopf

from weft_operator import handlers
from weft_operator.act import Actor
from weft_operator.api import CLUSTERS, PIPELINES, POOLS, Api, ApiError
from weft_operator.head_client import HeadClient
from weft_operator.heads import Heads
from weft_operator.health import Health, serve
from weft_operator.keyed_queue import KeyedQueue
from weft_operator.leadership import Leadership
from weft_operator.reconcile import Reconciler
from weft_operator.settings import Settings
from weft_operator.store import Store
from weft_operator.sweep import Sweep

log = logging.getLogger(__name__)


async def run(settings: Settings, stop: asyncio.Event) -> int:
    """Exit status: 0 when told to stop, 1 when the Lease or the watches were lost.

    A leader that has lost its Lease ends as a process: nothing of it can write on.
    """
    health = Health()
    runners = await serve(
        health, health_port=settings.health_port, metrics_port=settings.metrics_port
    )
    try:
        async with await Api.connect() as api:
            return await _take_part(settings, api, health, stop)
    finally:
        for runner in runners:
            await runner.cleanup()


async def _take_part(settings: Settings, api: Api, health: Health, stop: asyncio.Event) -> int:
    if not settings.leader_election:
        return await _first_to_end(_lead(settings, api, health, stop), stop)
    leadership = Leadership(
        api,
        namespace=settings.own_namespace,
        name=settings.lease_name,
        identity=settings.identity,
    )
    health.heard(lambda: leadership.heard)
    if await _ends_first(stop.wait(), leadership.acquire()):
        return 0
    try:
        leading = asyncio.ensure_future(_lead(settings, api, health, stop))
        lost = await _ends_first(leadership.hold(), leading)
        return 1 if lost else leading.result()
    finally:
        await leadership.release()


async def _first_to_end(main: Awaitable[int], stop: asyncio.Event) -> int:
    task = asyncio.ensure_future(main)
    return 0 if await _ends_first(stop.wait(), task) else task.result()


async def _ends_first(one: Awaitable[object], other: Awaitable[object]) -> bool:
    """Runs both; whether `one` ended first. The one left over is cancelled and awaited."""
    tasks = [asyncio.ensure_future(one), asyncio.ensure_future(other)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        first = tasks[0].done()
        for task in tasks:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()  # raises what it raised
    return first


async def _lead(settings: Settings, api: Api, health: Health, stop: asyncio.Event) -> int:
    settings = replace(settings, watch_clusters=await _kinds_are_served(api, stop))
    store = Store()
    client = HeadClient()
    actor = Actor(api, store, settings.identity)
    heads = Heads(store, client, settings, actor.token_of, lambda key: queue.add(key))
    reconciler = Reconciler(api, store, settings, heads, client)
    queue = KeyedQueue(reconciler.reconcile, settings.workers)
    sweep = Sweep(api, store, settings, queue.add)
    health.add(sweep.fault)

    # Nothing is decided upon half a view: all is listed before the first reconcile.
    await sweep.fill()
    for key in store.pipelines:
        queue.add(key)

    registry = kopf.OperatorRegistry()
    intake = handlers.Intake(store, queue.add_after)
    intake.register(registry, settings)
    kopf.on.login(registry=registry)(_login)
    kopf_settings = kopf.OperatorSettings()
    handlers.operator_settings(kopf_settings)
    # What is watched is known, so that no right to list CRDs and namespaces is needed.
    kopf_settings.scanning.disabled = True

    watching = kopf.operator(
        registry=registry,
        settings=kopf_settings,
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=stop,
    )
    tasks = [
        asyncio.create_task(queue.run(), name="queue"),
        asyncio.create_task(heads.run(), name="heads"),
        asyncio.create_task(sweep.run(), name="sweep"),
    ]
    if not settings.watch_clusters:
        tasks.append(asyncio.create_task(_kuberay_comes(api), name="wait for KubeRay"))
    # Kopf ends by ending all tasks that were not there when it began: let these begin first.
    await asyncio.sleep(0)
    watches = asyncio.create_task(watching, name="watches")
    tasks.append(watches)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.exception() is not None:
                log.error("%s ended: %r", task.get_name(), task.exception())
        # While it runs, signals are Kopf's: it ends by itself then, and quietly.
        return 0 if watches in done and watches.exception() is None else 1
    finally:
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.close()


async def _kinds_are_served(api: Api, stop: asyncio.Event) -> bool:
    """Waits for our own kinds; whether KubeRay's is there too."""
    while not (await api.serves(PIPELINES) and await api.serves(POOLS)):
        log.error("the CRDs of weft.dev are not installed; the Helm chart brings them")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 10.0)
            return False
    return await api.serves(CLUSTERS)


async def _kuberay_comes(api: Api) -> None:
    """Ends, and the process with it, when there is something to watch. Kopf looks for kinds at its
    start only; pipelines say `KubeRayMissing` meanwhile."""
    log.error("KubeRay's CRD rayclusters.ray.io (v1) is not installed; install KubeRay")
    while True:
        await asyncio.sleep(10.0)
        with contextlib.suppress(ApiError):
            if await api.serves(CLUSTERS):
                log.warning("KubeRay is installed now; starting anew to watch its clusters")
                return


def _login(**kwargs: object) -> kopf.ConnectionInfo | None:
    found: kopf.ConnectionInfo | None = kopf.login_with_service_account(**kwargs)
    return found or kopf.login_with_kubeconfig(**kwargs)
