"""All of it runs where the `restricted` Pod Security Standard is enforced."""

from __future__ import annotations

import pytest
from e2e.scenarios import pipelines
from e2e.scenarios.kube import Refused
from e2e.scenarios.space import Space


@pytest.fixture
def labels() -> dict[str, str]:
    return {"pod-security.kubernetes.io/enforce": "restricted"}


def test_a_pipeline_runs_in_a_restricted_namespace(space: Space) -> None:
    root = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root"},
        "spec": {"containers": [{"name": "root", "image": "weft.dev/e2e/busybox:1"}]},
    }
    with pytest.raises(Refused, match="violates PodSecurity"):
        space.kube.apply(root)

    ids = pipelines.write_source(space.folder, 60)
    space.kube.apply(pipelines.pipeline(), pipelines.pool(rows_per_second=10))
    space.wait_phase("talk", "Succeeded", 240)
    space.dataset().assert_exactly(ids)
