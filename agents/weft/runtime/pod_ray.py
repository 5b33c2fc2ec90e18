"""The Ray of a pod: started as KubeRay says, joined by this process, and taken away with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

TIMEOUT = 300.0
"""Seconds until this pod's Ray must have joined."""
START_ATTEMPTS = 3
"""`ray start` gives its processes 30 s, which cannot be changed and is too short on a busy node; a
container that ends for it is held back longer each time."""
UP = Path("/tmp/ray/ray_current_cluster")
"""`ray start` writes this file when its processes are up. An attempt to join before that blocks
for minutes when they do not come up."""
END_TIMEOUT = 10.0

log = logging.getLogger("weft.pod")


class PodError(Exception):
    """This pod cannot serve. One line."""


async def start(namespace: str, stopping: asyncio.Event) -> subprocess.Popen[bytes]:
    """Run KubeRay's start line as a child and connect to it. Ends the process when `stopping`."""
    began = time.monotonic()
    command = required("KUBERAY_GEN_RAY_START_CMD")
    if stopping.is_set():
        raise SystemExit(0)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A pod has one actor; Ray would start a Python process for each of its CPUs beforehand.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    deadline = time.monotonic() + TIMEOUT
    for attempt in range(1, START_ATTEMPTS + 1):
        process = _launch(command)
        while process.poll() is None and not _is_up():
            if time.monotonic() > deadline:
                raise PodError(f"Ray did not come up in {TIMEOUT:g} s")
            if stopping.is_set():
                process.terminate()
                raise SystemExit(0)
            await asyncio.sleep(0.2)
        if process.poll() is None:
            break
        log.warning("Ray did not start: attempt %d of %d", attempt, START_ATTEMPTS)
    else:
        raise PodError(f"Ray did not start: exit code {process.returncode}")
    log.info("Ray is up after %.1f s", time.monotonic() - began)
    try:
        # In a thread: it blocks for seconds, and this pod has to answer over HTTP meanwhile.
        await asyncio.to_thread(_connect, namespace)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PodError(f"this pod's Ray cannot be joined: {one_line(error)}") from None
    log.info("joined Ray after %.1f s", time.monotonic() - began)
    return process


def _connect(namespace: str) -> None:
    # What the actor logs goes to the pod's log by way of the driver.
    ray.init(address="auto", namespace=namespace, log_to_driver=True, configure_logging=False)


def _is_up() -> bool:
    return UP.exists()


def _launch(command: str) -> subprocess.Popen[bytes]:
    UP.unlink(missing_ok=True)  # Of an earlier Ray in this container.
    raise_limit = "ulimit -n 65536 2>/dev/null"  # Denied to some users; the default may do.
    return subprocess.Popen(["/bin/bash", "-c", f"{raise_limit}; exec {command}"])


def end(process: subprocess.Popen[bytes]) -> None:
    ray.shutdown()
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()


def begin_anew() -> None:
    """Become a fresh process in the same container.

    A container that ends is started again after a pause that doubles each time; heads may be
    replaced more often than that."""
    if os.getpid() == 1:
        # In a pid namespace of our own: all of Ray's processes, however deep.
        os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.execv(sys.executable, [sys.executable, *sys.argv])


def here() -> NodeAffinitySchedulingStrategy:
    """This very node, and no other."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def gpus() -> float:
    """GPUs that the pod's Ray node has: all of them are the actor's."""
    mine = ray.get_runtime_context().get_node_id()
    for node in ray.nodes():
        if node["NodeID"] == mine:
            return float(node["Resources"].get("GPU", 0))
    return 0.0


def required(name: str) -> str:
    """An environment variable. Raises `PodError`."""
    value = os.environ.get(name, "")
    if not value:
        raise PodError(f"the environment variable {name} is not set; the operator sets it")
    return value


def one_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
