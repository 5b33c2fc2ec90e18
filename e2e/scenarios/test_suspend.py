"""A pipeline sleeps without pods and goes on; deleted, it leaves nothing behind."""

from __future__ import annotations

from e2e.scenarios import pipelines
from e2e.scenarios.kube import Object
from e2e.scenarios.space import Space
from e2e.scenarios.waiting import until

ROWS = 150


def test_a_suspended_pipeline_has_no_pods_and_goes_on_when_resumed(space: Space) -> None:
    ids = pipelines.write_source(space.folder, ROWS)
    space.kube.apply(pipelines.pipeline(), pipelines.pool(rows_per_second=4))
    space.wait_rows("talk", 10)

    space.kube.merge("sp", "talk", {"spec": {"suspend": True}})
    until(
        "no pod is left",
        lambda: not space.kube.list("pods"),
        120,
        seen=lambda: space.in_short("talk"),
    )
    space.wait_phase("talk", "Suspended", 30)
    asleep = space.dataset()
    assert 0 < len(asleep.rows) < ROWS, "the run was over before it was suspended"

    space.kube.merge("sp", "talk", {"spec": {"suspend": False}})
    status = space.wait_phase("talk", "Succeeded")
    dataset = space.dataset()
    dataset.assert_exactly(ids)
    assert status["rows"]["accepted"] == ROWS
    kept = {row["id"]: row["epoch"] for row in dataset.rows}
    assert all(kept[row["id"]] == row["epoch"] for row in asleep.rows), "rows were made again"


def test_a_deleted_pipeline_leaves_nothing_but_its_data(space: Space) -> None:
    pipelines.write_source(space.folder, ROWS)
    space.kube.apply(pipelines.pipeline(), pipelines.pool(rows_per_second=4))
    space.wait_rows("talk", 10)

    space.kube.delete("sp", "talk")
    until("nothing of it is left", lambda: not _left(space), 120, seen=lambda: str(_left(space)))
    assert space.dataset().rows, "its output is the user's"
    assert [pool["metadata"]["name"] for pool in space.kube.list("ap")] == ["drafter"]


def _left(space: Space) -> list[str]:
    kinds = "pods,services,secrets,configmaps,rayclusters,networkpolicies,serviceaccounts,roles"
    kinds += ",rolebindings,jobs,poddisruptionbudgets,endpointslices"
    ours = ("kube-root-ca.crt", "default")
    found: list[Object] = space.kube.list(kinds)
    named = [(o["kind"], o["metadata"]["name"]) for o in found]
    return [f"{kind}/{name}" for kind, name in named if name not in ours]
