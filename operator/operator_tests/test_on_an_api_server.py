"""The whole operator, as a process, against a real API server."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from operator_tests.samples import pipeline, pool
from weft_operator.api import CLUSTERS, CONFIG_MAPS, PIPELINES, POOLS, SECRETS, Api
from weft_operator.jsontypes import Object, dig

T = TypeVar("T")


async def eventually(what: Callable[[], Awaitable[T | None]], seconds: float = 20.0) -> T:
    """The first answer that is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = await what()
        if found:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come about")


def condition(obj: Object, kind: str) -> Object:
    listed = dig(obj, "status", "conditions") or []
    return next((c for c in listed if c["type"] == kind), {})


@pytest.fixture
def operator(crds: Any, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """Serves the test's namespace; its log's path."""
    log = tmp_path / "operator.log"
    command = [sys.executable, "-m", "weft_operator", "--image", "agents:1", "--log", "text"]
    command += ["--namespace", namespace, "--no-leader-election"]
    command += ["--health-port", "0", "--metrics-port", "0", "--log-level", "debug"]
    env = {**os.environ, "KUBECONFIG": str(crds.kubeconfig)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env)
        try:
            yield log
        finally:
            process.terminate()
            assert process.wait(15) == 0, log.read_text()[-3000:]


async def test_a_pipeline_and_its_pool_become_a_ray_cluster(
    api: Api, namespace: str, operator: Path
) -> None:
    await api.create(PIPELINES, pipeline(namespace))
    await api.create(POOLS, pool(namespace))
    cluster = await eventually(lambda: api.get(CLUSTERS, namespace, "support"))
    groups = {g["groupName"]: g["replicas"] for g in cluster["spec"]["workerGroupSpecs"]}
    assert groups == {"writers": 1, "drafter-a": 2, "drafter-b": 0}
    assert cluster["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] == "true"
    plan = await eventually(lambda: api.get(CONFIG_MAPS, namespace, "support-weft-plan"))
    assert '"generation":1' in plan["data"]["plan.json"]
    secret = await eventually(lambda: api.get(SECRETS, namespace, "support-weft-token"))
    assert len(base64.b64decode(secret["data"]["token"])) >= 32

    async def reported() -> Object | None:
        found = await api.get(PIPELINES, namespace, "support")
        return found if dig(found or {}, "status", "phase") == "Starting" else None

    status = (await eventually(reported))["status"]
    assert status["rayCluster"] == "support"
    assert status["planGeneration"] == 1
