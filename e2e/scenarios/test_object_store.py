"""An S3-compatible store, credentials in a Secret; the cluster goes when its time has come."""

from __future__ import annotations

from e2e.scenarios import pipelines
from e2e.scenarios.dataset import Dataset
from e2e.scenarios.installation import cluster_command
from e2e.scenarios.kube import Object
from e2e.scenarios.space import CLAIM, Space, is_ready
from e2e.scenarios.waiting import until

PORT = 7070
SECRET = "s3cr3t-of-the-scenario"
KEYS = {"AWS_ACCESS_KEY_ID": "weft", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}


def test_a_pipeline_reads_from_and_writes_to_an_object_store(space: Space) -> None:
    image = cluster_command("program-image", "versitygw").split()[-1]
    (space.folder / "bucket").mkdir()
    (space.folder / "bucket").chmod(0o777)
    ids = pipelines.write_source(space.folder / "bucket", 60)
    space.kube.apply(*_store(image))
    store = until("the store runs", lambda: _ready(space), 60)

    at = {
        "AWS_ENDPOINT_URL": f"http://store.{space.namespace}.svc:{PORT}",
        "AWS_ALLOW_HTTP": "true",
    }
    space.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "bucket"},
            "stringData": {**KEYS, **at},
        }
    )
    pipeline = pipelines.pipeline(
        source={"dataset": {"uri": "s3://bucket/rows.jsonl", "idField": "id"}},
        output={"uri": "s3://bucket/out", "commitInterval": "1s"},
        storage={"secretRef": {"name": "bucket"}},
        ray={"head": {"resources": pipelines.SMALL}},
        ttlSecondsAfterFinished=5,
    )
    space.kube.apply(pipeline, pipelines.pool(rows_per_second=4))
    space.wait_phase("talk", "Running", 240)
    shown = space.kube.run("get", "sp,ap,raycluster,configmaps", "-o", "yaml")
    assert SECRET not in shown, "the credentials are in an object that is no Secret"
    space.wait_phase("talk", "Succeeded")

    until("its cluster is removed", lambda: not space.kube.list("rayclusters"), 60)
    assert space.status("talk")["phase"] == "Succeeded"

    here = {"AWS_ENDPOINT_URL": f"http://{store}:{PORT}", "AWS_ALLOW_HTTP": "true"}
    Dataset.read("s3://bucket/out", {**KEYS, **here}).assert_exactly(ids)


def _store(image: str) -> list[Object]:
    container = {
        "name": "store",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["--port", f":{PORT}", "posix", "/store"],
        "env": [
            {"name": "ROOT_ACCESS_KEY", "value": KEYS["AWS_ACCESS_KEY_ID"]},
            {"name": "ROOT_SECRET_KEY", "value": SECRET},
        ],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": "/store"}],
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "store", "labels": {"app": "store"}},
        "spec": {"containers": [container], "volumes": [volume]},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "store"},
        "spec": {"selector": {"app": "store"}, "ports": [{"port": PORT}]},
    }
    return [pod, service]


def _ready(space: Space) -> str | None:
    """The store's address, once it answers."""
    pod = space.kube.get("pod", "store")
    return str(pod["status"]["podIP"]) if is_ready(pod) else None
