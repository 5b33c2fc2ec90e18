"""The operator is not on the data path: rows flow on, and a successor changes nothing."""

from __future__ import annotations

import time

from e2e.scenarios import installation, pipelines
from e2e.scenarios.installation import SYSTEM
from e2e.scenarios.kube import Kube, Object
from e2e.scenarios.space import Space
from e2e.scenarios.waiting import until

ROWS = 160
PASSES_WITHIN = 20.0
"""Seconds in which another replica must lead."""


def test_rows_flow_without_an_operator_and_its_successor_leaves_the_cluster_alone(
    space: Space, weft: Kube
) -> None:
    ids = pipelines.write_source(space.folder, ROWS)
    space.kube.apply(pipelines.pipeline(), pipelines.pool(rows_per_second=4))
    space.wait_rows("talk", 10)
    space.wait_phase("talk", "Running", 60)
    before, pods = space.kube.get("raycluster", "talk"), _uids(space.pods())

    operator = weft.within(SYSTEM)
    deployment = operator.list("deployments")[0]["metadata"]["name"]
    replicas = operator.get("deployment", deployment)["spec"]["replicas"]
    operator.run("scale", "deployment", deployment, "--replicas=0")
    try:
        until("no operator is left", lambda: not operator.list("pods"), 60)
        here = len(space.dataset().rows)
        space.wait_rows("talk", min(ROWS, here + 20), 60)
    finally:
        operator.run("scale", "deployment", deployment, f"--replicas={replicas}")

    space.wait_phase("talk", "Succeeded")
    space.dataset().assert_exactly(ids)
    after = space.kube.get("raycluster", "talk")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert _uids(space.pods()) == pods
    restarts = [c["restartCount"] for p in space.pods() for c in p["status"]["containerStatuses"]]
    assert not any(restarts)


def test_leadership_passes_when_the_leader_dies(space: Space, weft: Kube) -> None:
    operator = weft.within(SYSTEM)
    deployment = operator.list("deployments")[0]["metadata"]["name"]
    replicas = operator.get("deployment", deployment)["spec"]["replicas"]
    operator.run("scale", "deployment", deployment, "--replicas=2")
    try:
        operator.run("rollout", "status", f"deployment/{deployment}", "--timeout=90s")
        first = installation.leader(weft)
        operator.delete("pod", first, "--grace-period=0", "--force")
        died = time.monotonic()
        second = installation.leader(weft)
        took = time.monotonic() - died
        assert second != first
        assert took < PASSES_WITHIN, f"leadership passed after {took:.0f} s"

        pipelines.write_source(space.folder, 10)
        space.kube.apply(pipelines.pipeline(), pipelines.pool())
        until("the new leader makes the cluster", lambda: space.kube.find("raycluster", "talk"), 20)
    finally:
        operator.run("scale", "deployment", deployment, f"--replicas={replicas}")


def _uids(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods}
