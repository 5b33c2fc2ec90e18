"""Everything is lost within seconds: pods, a node, the head, KubeRay and the operator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2e.scenarios import pipelines
from e2e.scenarios.installation import SYSTEM, cluster_command, operator_pods
from e2e.scenarios.kube import Kube
from e2e.scenarios.space import Space, is_ready
from e2e.scenarios.waiting import until

ROWS = 200
NODE = "weft-gpu"
AWAY = 10.0
"""Seconds that the node is without power, and the cluster without KubeRay."""
AT_ONCE = ("--grace-period=0", "--force", "--wait=false")


@pytest.fixture(autouse=True)
def mended() -> Iterator[None]:
    """However the scenario ends, the others find node and KubeRay at work."""
    yield
    cluster_command("node", "start", NODE)
    cluster_command("kuberay", "start")


def test_a_run_goes_on_after_pods_node_head_kuberay_and_operator_are_lost_at_once(
    space: Space, weft: Kube, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = pipelines.write_source(space.folder, ROWS)
    # Slow until all has been done to it; head and writers outlive the node of the agents.
    head = pipelines.with_volume(nodeSelector={"weft.dev/node": "cpu"})
    pool = pipelines.pool(rows_per_second=3, replicas=2)
    slow = {**pool, "spec": {**pool["spec"], "concurrency": 1}}
    space.kube.apply(pipelines.pipeline(ray={"head": head}), slow)
    space.wait_rows("talk", 10)
    until("both agents serve", lambda: len(space.ready_pods(role="agent")) == 2, 120)
    before = {pod["metadata"]["uid"] for pod in space.pods(role="head")}

    clock = _Clock()
    _lose_everything(space, weft)
    clock.tick("all of it is lost")
    assert len(space.dataset().rows) < ROWS / 2, "the run was nearly over before it was struck"
    time.sleep(AWAY)
    clock.restart()
    cluster_command("kuberay", "start")
    clock.tick("KubeRay is back")
    cluster_command("node", "start", NODE)
    clock.tick("the node is back")
    until("the operator is back", lambda: any(map(is_ready, operator_pods(weft))), 120)
    clock.tick("the operator is back")
    until(
        "another head is ready",
        lambda: {p["metadata"]["uid"] for p in space.ready_pods(role="head")} - before,
        120,
        seen=lambda: space.in_short("talk"),
    )
    clock.tick("a new head is ready")
    space.wait_rows("talk", len(space.dataset().rows) + 1)
    clock.tick("rows go on")
    until("both agents serve", lambda: len(space.ready_pods(role="agent")) == 2, 120)
    clock.tick("both agents serve")
    space.kube.apply(pool)
    status = space.wait_phase("talk", "Succeeded", 240)
    clock.tick("Succeeded")

    space.dataset().assert_exactly(ids)
    assert status["rows"]["accepted"] == ROWS
    with capsys.disabled():
        print("\n" + "\n".join(clock.lines))


def _lose_everything(space: Space, weft: Kube) -> None:
    """Whatever can die dies, all of it at the same time."""
    names = {
        role: space.pods(role=role)[0]["metadata"]["name"] for role in ("agent", "writer", "head")
    }
    operator = [pod["metadata"]["name"] for pod in operator_pods(weft)]
    with ThreadPoolExecutor() as at_once:
        blows = [
            at_once.submit(cluster_command, "kuberay", "stop"),
            at_once.submit(cluster_command, "node", "stop", NODE),
            at_once.submit(space.kube.run, "delete", "pod", *names.values(), *AT_ONCE),
            at_once.submit(weft.within(SYSTEM).run, "delete", "pod", *operator, *AT_ONCE),
        ]
    for blow in blows:
        blow.result()


class _Clock:
    """Says what took how long."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.restart()

    def restart(self) -> None:
        self._began = time.monotonic()

    def tick(self, what: str) -> None:
        self.lines.append(f"{time.monotonic() - self._began:6.1f} s  {what}")
