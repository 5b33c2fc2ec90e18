"""Asking for GPUs that no node has: said at once, and cured when there are some."""

from __future__ import annotations

from e2e.scenarios import pipelines
from e2e.scenarios.installation import cluster_command
from e2e.scenarios.space import Space
from e2e.scenarios.waiting import until

OTHER = "NVIDIA-L4"


def test_a_gpu_that_no_node_has_is_named_and_the_run_starts_when_one_appears(space: Space) -> None:
    ids = pipelines.write_source(space.folder, 60)
    pool = pipelines.pool(rows_per_second=10, gpu={"product": OTHER})
    space.kube.apply(pipelines.pipeline(), pool)

    space.wait_condition("ap", "drafter", "Stalled", "True", "NoMatchingNode")
    unmatched = space.wait_condition("ap", "drafter", "GPUsMatched", "False", "Unmatched")
    for said in ("nvidia.com/gpu.product", OTHER, pipelines.GPU["product"]):
        assert said in unmatched["message"]
    space.wait_condition("sp", "talk", "Stalled", "True", "NoMatchingNode")
    assert "drafter" in space.status("talk")["message"]
    # The pod is there all the same: by it a cluster autoscaler knows what to bring.
    assert {pod["status"]["phase"] for pod in space.pods(role="agent")} <= {"Pending"}

    try:
        cluster_command("gpus", "8", "--product", OTHER)
        space.wait_phase("talk", "Succeeded", 240)
    finally:
        cluster_command("gpus", "8", "--product", pipelines.GPU["product"])
    space.dataset().assert_exactly(ids)
    until(
        "the pipeline is no longer stalled",
        lambda: space.condition("sp", "talk", "Stalled").get("status") == "False",
        30,
    )
