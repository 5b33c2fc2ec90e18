"""What the watches bring, kept small and found again."""

from __future__ import annotations

from operator_tests.samples import World, pipeline, pool, stored
from weft_operator.facts import Pod
from weft_operator.jsontypes import Object
from weft_operator.store import Store, key_of


def cluster(**meta: str) -> Object:
    created = World().decide().create
    assert created is not None
    return stored(created, **meta)


def test_an_echo_or_an_older_state_is_no_news() -> None:
    store = Store()
    assert store.pipelines.put(stored(pipeline(), resourceVersion="10"))
    assert not store.pipelines.put(stored(pipeline(), resourceVersion="10"))
    assert not store.pipelines.put(stored(pipeline(), resourceVersion="9"))
    assert store.pipelines.put(stored(pipeline(seed=1), resourceVersion="11"))
    found = store.pipelines.get(("team", "support"))
    assert found is not None
    assert found.open()["spec"]["seed"] == 1


def test_what_changes_nothing_that_is_kept_is_no_news_and_its_version_counts_all_the_same() -> None:
    """KubeRay's status of a cluster, a pod's conditions about its volumes, a node's heartbeat."""
    store = Store()
    for shelf, obj in (
        (store.clusters, cluster(resourceVersion="1")),
        (store.pods, {"metadata": {"name": "x", "namespace": "team", "resourceVersion": "1"}}),
        (store.nodes, {"metadata": {"name": "n", "resourceVersion": "1"}}),
    ):
        assert shelf.put(obj)
        beat = {**obj, "metadata": {**obj["metadata"], "resourceVersion": "2"}}
        beat["status"] = {"state": "ready", "conditions": [{"type": "Other", "status": "True"}]}
        assert not shelf.put(beat)
        assert shelf.version(key_of(obj)) == 2


def test_a_cluster_whose_spec_notes_or_owner_change_is_news() -> None:
    store = Store()
    store.clusters.put(cluster(resourceVersion="1"))
    changed = cluster(resourceVersion="2")
    changed["spec"]["suspend"] = True
    assert store.clusters.put(changed)
    changed["metadata"] |= {"resourceVersion": "3", "deletionTimestamp": "2027-01-15T07:00:00Z"}
    assert store.clusters.put(changed)
    changed["metadata"] |= {"resourceVersion": "4", "annotations": {"weft.dev/spec-digest": "x"}}
    assert store.clusters.put(changed)
    changed["metadata"] |= {"resourceVersion": "5", "labels": {"weft.dev/pipeline": "other"}}
    assert store.clusters.put(changed)
    assert store.clusters.of(("team", "support")) == []


def test_pools_are_found_by_their_pipeline_and_gone_when_removed() -> None:
    store = Store()
    store.pools.put(stored(pool(name="b")))
    store.pools.put(stored(pool(name="a")))
    store.pools.put(stored(pool(name="c", of="other")))
    names = [p.open()["metadata"]["name"] for p in store.pools.of(("team", "support"))]
    assert names == ["a", "b"]
    store.pools.remove(("team", "a"))
    assert len(store.pools.of(("team", "support"))) == 1
    assert store.pools.of(("other", "support")) == []


def test_managed_fields_and_other_peoples_annotations_are_not_kept() -> None:
    store = Store()
    notes = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 9999, "weft.dev/x": "1"}
    store.pipelines.put(stored(pipeline(), annotations=notes, managedFields=[{"a": 1}]))
    found = store.pipelines.get(("team", "support"))
    assert found is not None
    meta = found.open()["metadata"]
    assert meta["annotations"] == {"weft.dev/x": "1"}
    assert "managedFields" not in meta


def test_a_pods_trouble_is_the_last_line_of_what_its_container_said() -> None:
    said = "Traceback (most recent call last):\n  File x\nweft: WEFT_HEAD is not set; set it\n"
    status = {
        "phase": "Running",
        "containerStatuses": [
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                "lastState": {"terminated": {"exitCode": 2, "message": said}},
            }
        ],
    }
    obj = {"metadata": {"name": "x", "namespace": "team"}, "status": status}
    assert Pod.from_object(obj).trouble == "exited with 2: weft: WEFT_HEAD is not set; set it"
