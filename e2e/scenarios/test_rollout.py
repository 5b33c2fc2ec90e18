"""A pool's image changes mid-run: the new revision takes over slot by slot, and no row is lost."""

from __future__ import annotations

import threading

from e2e.scenarios import pipelines
from e2e.scenarios.installation import Images, another_tag
from e2e.scenarios.space import Space
from e2e.scenarios.waiting import until

ROWS = 300


def test_a_new_image_takes_over_and_there_are_never_fewer_agents(
    space: Space, images: Images
) -> None:
    next_image = another_tag(images.agents, "next")
    ids = pipelines.write_source(space.folder, ROWS)
    space.kube.apply(pipelines.pipeline(), pipelines.pool(rows_per_second=1.5, replicas=2))
    space.wait_rows("talk", 10)
    until("both agents serve", lambda: _serving(space) == 2, 120)
    first = space.kube.get("ap", "drafter")["status"]["currentRevision"]

    with _Watched(space) as watched:
        space.kube.merge("ap", "drafter", {"spec": {"image": next_image}})
        space.wait_phase("talk", "Succeeded", 300)
    assert watched.looks > 5
    assert watched.fewest >= 2, f"only {watched.fewest} agents served at a time"

    dataset = space.dataset()
    dataset.assert_exactly(ids)
    pool = space.kube.get("ap", "drafter")["status"]
    second = pool["currentRevision"]
    assert second != first
    assert set(dataset.met("revision")) == {first, second}
    assert set(dataset.met("image")) == {images.agents, next_image}
    hops = [hop for row in dataset.rows for hop in row["provenance"]]
    assert {(hop["revision"], hop["image"]) for hop in hops} == {
        (first, images.agents),
        (second, next_image),
    }


def _serving(space: Space) -> int | None:
    """Agents that serve, as the head has it: a busy machine's probes may be late. None: it is over.

    The head's own word is asked for, from inside its pod."""
    status = space.head_status("talk")
    if status.get("phase") != "Running":
        return None
    instances = [instance for pool in status["pools"] for instance in pool["instances"]]
    return len([instance for instance in instances if instance["state"] == "serving"])


class _Watched:
    """Counts the agents that serve until it is left; the fewest are kept."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.looks = 0
        self.fewest = 1_000_000

    def __enter__(self) -> _Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            serving = _serving(self._space)
            if serving is not None:
                self.looks += 1
                self.fewest = min(self.fewest, serving)
