"""/healthz and /readyz for the kubelet, /metrics for Prometheus.

Alive: the event loop turns, and no watch is behind what the API server has. Ready: likewise, and a
standby is as ready as the leader, since it can take over at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

SILENCE: Final = 60.0
"""Seconds without an answer to the Lease's requests, after which a replica is not well."""


class Health:
    """What the replica knows of itself; empty `faults()` is well."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._checks: list[Callable[[], str]] = []

    def add(self, check: Callable[[], str]) -> None:
        """A check gives one line of what is wrong, or nothing."""
        self._checks.append(check)

    def faults(self) -> list[str]:
        return [line for check in self._checks if (line := check())]

    def heard(self, last: Callable[[], float]) -> None:
        """Adds the check that something was heard lately (`last` in monotonic seconds)."""

        def check() -> str:
            age = self._clock() - last()
            return f"the API server has not answered for {age:.0f} s" if age > SILENCE else ""

        self.add(check)


async def serve(health: Health, *, health_port: int, metrics_port: int) -> list[web.AppRunner]:
    """Starts both servers; port 0 leaves one out."""

    async def probe(_: web.Request) -> web.Response:
        faults = health.faults()
        return web.Response(text="\n".join(faults) or "ok", status=503 if faults else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    runners = []
    if health_port:
        runners.append(await _start({"/healthz": probe, "/readyz": probe}, health_port))
    if metrics_port:
        runners.append(await _start({"/metrics": metrics}, metrics_port))
    return runners


async def _start(routes: dict[str, Callable[[web.Request], object]], port: int) -> web.AppRunner:
    app = web.Application()
    app.add_routes([web.get(path, handler) for path, handler in routes.items()])  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "", port).start()
    return runner
