"""The whole operator, as a process, against a real API server. The test plays KubeRay."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from operator_tests.samples import pipeline, pool
from weft_operator.api import CLUSTERS, CONFIG_MAPS, EVENTS, PIPELINES, POOLS, SECRETS, Api
from weft_operator.jsontypes import Object, dig

pytestmark = pytest.mark.cluster

T = TypeVar("T")


async def eventually(what: Callable[[], Awaitable[T | None]], seconds: float = 40.0) -> T:
    """The first answer that is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = await what()
        if found:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come about")


def condition(obj: Object | None, kind: str) -> Object:
    listed = dig(obj or {}, "status", "conditions") or []
    return next((c for c in listed if c["type"] == kind), {})


@contextlib.contextmanager
def running(crds: Any, namespace: str, log: Path) -> Iterator[None]:
    """The operator, for one namespace."""
    command = [sys.executable, "-m", "weft_operator", "--image", "agents:1", "--log", "text"]
    command += ["--namespace", namespace, "--no-leader-election"]
    command += ["--health-port", "0", "--metrics-port", "0"]
    env = {**os.environ, "KUBECONFIG": str(crds.kubeconfig)}
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env)
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(30) == 0, log.read_text()[-3000:]


@pytest.fixture
def operator(crds: Any, namespace: str, tmp_path: Path) -> Iterator[Path]:
    log = tmp_path / "operator.log"
    with running(crds, namespace, log):
        yield log


async def made(api: Api, namespace: str, *, phase: str = "Starting", **spec: Any) -> Object:
    """A pipeline and its pool are applied; its RayCluster, when the status says so."""
    await api.create(PIPELINES, pipeline(namespace, **spec))
    await api.create(POOLS, pool(namespace))

    async def reported() -> Object | None:
        found = await api.get(PIPELINES, namespace, "support")
        there = dig(found or {}, "status", "phase") == phase
        return await api.get(CLUSTERS, namespace, "support") if there else None

    return await eventually(reported)


async def test_a_pipeline_and_its_pool_become_a_ray_cluster(
    api: Api, namespace: str, operator: Path
) -> None:
    cluster = await made(api, namespace)
    groups = {g["groupName"]: g["replicas"] for g in cluster["spec"]["workerGroupSpecs"]}
    assert groups == {"writers": 1, "drafter-a": 2, "drafter-b": 0}
    assert cluster["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] == "true"
    plan = await eventually(lambda: api.get(CONFIG_MAPS, namespace, "support-weft-plan"))
    assert '"generation":1' in plan["data"]["plan.json"]
    secret = await eventually(lambda: api.get(SECRETS, namespace, "support-weft-token"))
    assert len(base64.b64decode(secret["data"]["token"])) >= 32
    found = await api.get(PIPELINES, namespace, "support")
    assert dig(found or {}, "status", "rayCluster") == "support"
    assert dig(found or {}, "status", "planGeneration") == 1
    events = [e async for e in api.objects(EVENTS, namespace)]
    assert [e["reason"] for e in events] == ["Starting"]


async def test_a_cluster_changed_or_deleted_by_hand_is_put_right(
    api: Api, namespace: str, operator: Path
) -> None:
    cluster = await made(api, namespace)
    replicas = [{"op": "replace", "path": "/spec/workerGroupSpecs/1/replicas", "value": 0}]
    await api.patch(CLUSTERS, namespace, "support", replicas)

    async def repaired() -> bool:
        found = await api.get(CLUSTERS, namespace, "support")
        return bool(dig(found or {}, "spec") == cluster["spec"])

    await eventually(repaired)
    await api.delete(CLUSTERS, namespace, "support", cluster["metadata"]["uid"])

    async def anew() -> bool:
        found = await api.get(CLUSTERS, namespace, "support")
        return found is not None and found["metadata"]["uid"] != cluster["metadata"]["uid"]

    await eventually(anew)


async def test_a_field_that_the_api_server_drops_makes_no_endless_repair(
    api: Api, namespace: str, operator: Path
) -> None:
    overlay = {"spec": {"priorityClasName": "typo"}}
    cluster = await made(api, namespace, ray={"head": {"podTemplate": overlay}})
    assert "typo" not in str(cluster["spec"])
    before = cluster["metadata"]["resourceVersion"]
    await asyncio.sleep(3)
    after = await api.get(CLUSTERS, namespace, "support")
    assert after is not None
    assert after["metadata"]["resourceVersion"] == before


async def test_a_name_that_is_somebody_elses_is_left_alone_and_told(
    api: Api, namespace: str, operator: Path
) -> None:
    theirs = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "support", "namespace": namespace},
        "spec": {"headGroupSpec": {"rayStartParams": {}, "template": {"spec": {"containers": []}}}},
    }
    await api.create(CLUSTERS, theirs)
    cluster = await made(api, namespace, phase="Stalled")
    assert "ownerReferences" not in cluster["metadata"]
    found = await api.get(PIPELINES, namespace, "support")
    assert condition(found, "Stalled")["reason"] == "NameTaken"
    assert "delete it, or give the pipeline another name" in condition(found, "Ready")["message"]


async def test_a_broken_pipeline_stops_no_other(api: Api, namespace: str, operator: Path) -> None:
    broken = pipeline(namespace, "broken", prompts=[])
    await api.create(PIPELINES, broken)
    await api.create(POOLS, pool(namespace, "other", of="broken", step="drafter"))
    await made(api, namespace)

    async def told() -> Object | None:
        found = await api.get(PIPELINES, namespace, "broken")
        return found if condition(found, "Stalled").get("status") == "True" else None

    assert "draft" in condition(await eventually(told), "Ready")["message"]


async def test_an_operator_that_starts_again_writes_nothing(
    api: Api, crds: Any, namespace: str, tmp_path: Path
) -> None:
    async def versions() -> dict[str, str]:
        found = {}
        for kind in (PIPELINES, POOLS, CLUSTERS, CONFIG_MAPS, SECRETS, EVENTS):
            async for obj in api.objects(kind, namespace):
                meta = obj["metadata"]
                found[f"{kind.plural}/{meta['name']}"] = meta["resourceVersion"]
        return found

    log = tmp_path / "operator.log"
    with running(crds, namespace, log):
        await made(api, namespace)
        await asyncio.sleep(1)
    before = await versions()
    with running(crds, namespace, log):
        await asyncio.sleep(6)
    assert await versions() == before


async def test_a_pipeline_made_anew_under_its_name_gets_a_cluster_of_its_own(
    api: Api, namespace: str, operator: Path
) -> None:
    old = await made(api, namespace)
    found = await api.get(PIPELINES, namespace, "support")
    assert found is not None
    await api.delete(PIPELINES, namespace, "support", found["metadata"]["uid"])
    await api.create(PIPELINES, pipeline(namespace))
    await asyncio.sleep(1.5)
    there = await api.get(CLUSTERS, namespace, "support")
    assert there is not None
    assert there["metadata"]["uid"] == old["metadata"]["uid"], "that is the garbage collector's"
    # No controller runs here, so the test collects the garbage.
    await api.delete(CLUSTERS, namespace, "support", old["metadata"]["uid"])
    for kind, name in ((CONFIG_MAPS, "support-weft-plan"), (SECRETS, "support-weft-token")):
        obj = await api.get(kind, namespace, name)
        assert obj is not None
        await api.delete(kind, namespace, name, obj["metadata"]["uid"])

    async def anew() -> Object | None:
        return await api.get(CLUSTERS, namespace, "support")

    new = await eventually(anew)
    fresh = await api.get(PIPELINES, namespace, "support")
    assert fresh is not None
    assert new["metadata"]["ownerReferences"][0]["uid"] == fresh["metadata"]["uid"]
