"""A new release of the operator, by `helm upgrade`, leaves running clusters alone."""

from __future__ import annotations

import time

from e2e.scenarios import installation, pipelines
from e2e.scenarios.installation import Images, another_tag
from e2e.scenarios.kube import Kube
from e2e.scenarios.space import Space
from e2e.scenarios.waiting import until

ROWS = 200
LOOKS_SECONDS = 20.0
"""For which the new operator is watched to do nothing."""


def test_an_upgraded_operator_changes_nothing_of_what_runs(
    space: Space, weft: Kube, images: Images
) -> None:
    """Its own image is another, and so is the agents' that it gives to those who name none."""
    later = Images(another_tag(images.agents, "later"), another_tag(images.operator, "later"))
    ids = pipelines.write_source(space.folder, ROWS)
    space.kube.apply(pipelines.pipeline(), pipelines.pool(rows_per_second=2))
    space.wait_rows("talk", 5)
    space.wait_phase("talk", "Running", 90)
    before = space.untouched("talk")

    installation.install(weft, later)
    try:
        until("the new operator leads", lambda: later.operator in _leaders_images(weft), 90)
        time.sleep(LOOKS_SECONDS)
        assert len(space.dataset().rows) < ROWS, "the run was over before it was looked at"
        assert space.untouched("talk") == before
        space.wait_phase("talk", "Succeeded", 240)
        assert space.untouched("talk") == before
    finally:
        installation.install(weft, images)
    dataset = space.dataset()
    dataset.assert_exactly(ids)
    assert set(dataset.met("image")) == {images.agents}


def _leaders_images(weft: Kube) -> set[str]:
    leader = weft.within(installation.SYSTEM).get("pod", installation.leader(weft))
    return {container["image"] for container in leader["spec"]["containers"]}
