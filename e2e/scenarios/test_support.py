"""What the README promises: install the chart, apply the example, have the dataset."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from e2e.scenarios import pipelines
from e2e.scenarios.dataset import source_ids
from e2e.scenarios.installation import ROOT, Images
from e2e.scenarios.kube import Kube, Object
from e2e.scenarios.space import Space
from e2e.scenarios.waiting import PATIENCE

EXAMPLE = ROOT / "examples" / "support"
POOLS = ("drafter", "tools", "validator", "metadata")


@pytest.mark.timeout(900 * PATIENCE)
def test_the_example_becomes_a_dataset_and_its_agents_sit_on_the_gpu_node(
    space: Space, images: Images, tmp_path: Path
) -> None:
    manifests = _for_this_cluster(space, tmp_path)
    space.kube.run("apply", "--server-side", "-k", str(manifests))

    ready = f"--timeout={110 * PATIENCE:.0f}s"
    space.kube.run("wait", "--for=condition=Ready", "sp/support", ready)
    where = {role: _nodes(space, role) for role in ("head", "agent")}
    agents = {pod["metadata"]["name"]: pod for pod in space.pods(role="agent")}
    status = space.wait_phase("support", "Succeeded", 400)

    assert where == {"head": {"cpu"}, "agent": {"gpu"}}
    dataset = space.dataset()
    dataset.assert_exactly(source_ids(EXAMPLE / "scenarios.jsonl"))
    counted = {name: status["rows"][name] for name in ("accepted", "rejected", "dead")}
    assert counted == {name: dataset.count(name) for name in counted}
    assert counted["accepted"] > 400

    for pool in POOLS:
        revision = space.kube.get("ap", pool)["status"]["currentRevision"]
        assert set(dataset.met("revision", pool)) == {revision}
        assert set(dataset.met("instance", pool)) <= set(agents)
    assert set(dataset.met("image")) == {images.agents}
    assert len(dataset.met("instance", "drafter")) == 2, "one of the drafters had nothing to do"

    shown = space.kube.run("get", "sp,ap")
    assert "Succeeded" in shown
    assert all(pool in shown for pool in POOLS)


def _for_this_cluster(space: Space, folder: Path) -> Path:
    """The example with small requests, GPUs for the agents, and a volume for its claim."""
    overlay = folder / "overlay"
    overlay.mkdir()
    pool = [
        {"op": "add", "path": "/spec/gpu", "value": pipelines.GPU},
        {"op": "add", "path": "/spec/resources", "value": pipelines.SMALL},
    ]
    head = [
        {"op": "add", "path": "/spec/ray/head/resources", "value": pipelines.SMALL},
        {"op": "add", "path": "/spec/ray/head/nodeSelector", "value": {"weft.dev/node": "cpu"}},
    ]
    claim = [
        {"op": "add", "path": "/spec/volumeName", "value": f"{space.namespace}-support"},
        {"op": "add", "path": "/spec/storageClassName", "value": ""},
    ]
    space.make_volume("support")
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(EXAMPLE, overlay.resolve())],
        "patches": [
            {"target": {"kind": "AgentPool"}, "patch": json.dumps(pool)},
            {"target": {"kind": "SyntheticPipeline"}, "patch": json.dumps(head)},
            {"target": {"kind": "PersistentVolumeClaim"}, "patch": json.dumps(claim)},
        ],
    }
    (overlay / "kustomization.yaml").write_text(json.dumps(kustomization))
    return overlay


def _nodes(space: Space, role: str) -> set[str]:
    """Which kinds of node (label weft.dev/node) a role's pods are on."""
    nodes: dict[str, Object] = {n["metadata"]["name"]: n for n in space.kube.list("nodes")}
    on = {pod["spec"]["nodeName"] for pod in space.pods(role=role)}
    return {nodes[name]["metadata"]["labels"]["weft.dev/node"] for name in on}


def test_helm_test_passes(weft: Kube) -> None:
    """The chart's own self-test."""
    from e2e.scenarios.installation import RELEASE, SYSTEM

    weft.tool("helm", "test", RELEASE, "--namespace", SYSTEM, "--timeout", "110s")
