"""Pods vanish and somebody edits the RayCluster by hand: the dataset is none the worse."""

from __future__ import annotations

import json
import time

import pytest
from e2e.scenarios import pipelines
from e2e.scenarios.space import Space
from e2e.scenarios.waiting import until

ROWS = 240


def test_a_run_survives_the_loss_of_pods_and_edits_by_hand(
    space: Space, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = pipelines.write_source(space.folder, ROWS)
    # Slow until all has been done to it: how long pods take to come is the machine's affair.
    pool = pipelines.pool(rows_per_second=2, replicas=2)
    slow = {**pool, "spec": {**pool["spec"], "concurrency": 1}}
    space.kube.apply(pipelines.pipeline(), slow)

    space.wait_rows("talk", 10)
    agent = space.pods(role="agent")[0]["metadata"]["name"]
    space.kube.delete("pod", agent, "--grace-period=0", "--force")
    _agents_are_back(space, 2)

    # Somebody scales the group that serves to nothing, and another one up.
    groups = space.kube.get("raycluster", "talk")["spec"]["workerGroupSpecs"]
    edits = [
        {"op": "replace", "path": f"/spec/workerGroupSpecs/{place}/replicas", "value": replicas}
        for place, group in enumerate(groups)
        if (replicas := {"drafter-a": 0, "drafter-b": 1}.get(group["groupName"])) is not None
    ]
    assert len(edits) == 2
    space.kube.run("patch", "raycluster", "talk", "--type=json", "-p", json.dumps(edits))
    # Both slots hold the same revision, so either may be the one that serves.
    until(
        "one group has both agents again, the other none",
        lambda: sorted(_replicas(space).values()) == [0, 2],
        30,
        seen=lambda: str(_replicas(space)),
    )
    _agents_are_back(space, 2)

    before = space.dataset()
    assert len(before.rows) < ROWS / 2, "the run was nearly over before its head was deleted"
    head = space.pods(role="head")[0]["metadata"]["name"]
    died = time.time()
    space.kube.delete("pod", head, "--grace-period=0", "--force")
    space.kube.apply(pool)
    status = space.wait_phase("talk", "Succeeded", 300)

    dataset = space.dataset()
    dataset.assert_exactly(ids)
    # Epochs of a head are above all of the one before it.
    newest = max(row["epoch"] for row in dataset.rows) >> 16
    goes_on = min(r["committed"] for r in dataset.rows if r["epoch"] >> 16 == newest)
    with capsys.disabled():
        print(f"\n{goes_on.timestamp() - died:.1f} s from the head's deletion to rows of a new one")
    assert status["rows"]["accepted"] == ROWS
    assert space.pods(role="head")[0]["metadata"]["name"] != head


def _agents_are_back(space: Space, count: int) -> None:
    until(
        f"{count} agents serve",
        lambda: len(space.ready_pods(role="agent")) == count,
        240,
        seen=lambda: space.in_short("talk"),
    )


def _replicas(space: Space) -> dict[str, int]:
    groups = space.kube.get("raycluster", "talk")["spec"]["workerGroupSpecs"]
    return {g["groupName"]: g["replicas"] for g in groups if g["groupName"] != "writers"}
