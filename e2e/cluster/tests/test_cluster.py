"""The real cluster does what a cluster must: run with ``pytest -m cluster e2e/cluster/tests``.

The cluster is brought up if it is not there, and stays up for the next run; the test that takes
it down and kills it (``test_lifecycle.py``) runs last, and brings it up again.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.cluster.tests import tools
from e2e.cluster.tests.tools import BUSYBOX, PRODUCT, command, kubectl, pod, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> None:
    command("up")


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"smoke-{time.time_ns():x}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def test_a_deployment_runs_on_each_node_and_its_pods_reach_each_other(namespace: str) -> None:
    for kind in ("cpu", "gpu"):
        spec = pod(f"web-{kind}", {"weft.dev/node": kind}, serve=f"from {kind}")
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"web-{kind}"},
            "spec": {
                "selector": {"matchLabels": {"app": f"web-{kind}"}},
                "template": {"metadata": {"labels": {"app": f"web-{kind}"}}, "spec": spec["spec"]},
            },
        }
        ports = [{"port": 80, "targetPort": 8080}]
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"web-{kind}"},
            "spec": {"selector": {"app": f"web-{kind}"}, "ports": ports},
        }
        tools.apply(namespace, deployment, service)
    for kind in ("cpu", "gpu"):
        kubectl("-n", namespace, "rollout", "status", f"deployment/web-{kind}", "--timeout=60s")
    found = tools.get(namespace, "pods")["items"]
    assert {p["spec"]["nodeName"] for p in found} == {"weft-cpu", "weft-gpu"}
    addresses = {p["metadata"]["labels"]["app"]: p["status"]["podIP"] for p in found}
    for here, there in (("cpu", "gpu"), ("gpu", "cpu")):
        for host in (
            f"{addresses[f'web-{there}']}:8080",  # the pod itself, across nodes
            f"web-{there}",  # its service, by the search domains
            f"web-{there}.{namespace}.svc.cluster.local",
        ):
            answer = tools.execute(
                namespace, f"deploy/web-{here}", "wget", "-qO-", f"http://{host}/"
            )
            assert answer.strip() == f"from {there}", host
    assert "started" in kubectl("-n", namespace, "logs", "deploy/web-gpu")


def test_pods_know_the_api_server_and_no_name_outside(namespace: str) -> None:
    tools.apply(namespace, pod("ask", {"weft.dev/node": "cpu"}))
    tools.wait_ready(namespace, "pod/ask")
    answer = tools.execute(namespace, "ask", "nslookup", "kubernetes.default.svc.cluster.local")
    assert "10.96.0.1" in answer
    refused = tools.try_execute(namespace, "ask", "nslookup", "outside.example")
    assert "NXDOMAIN" in refused


def test_gpus_are_scheduled_counted_taken_away_and_given_back(namespace: str) -> None:
    first = pod("wants-one", gpus=1)
    tools.apply(namespace, first)
    tools.wait_ready(namespace, "pod/wants-one")
    assert tools.get(namespace, "pod/wants-one")["spec"]["nodeName"] == "weft-gpu"

    tools.apply(namespace, pod("wants-eight", gpus=8))
    until("the pod that asks for too many waits", lambda: _unschedulable(namespace, "wants-eight"))

    command("gpus", "0")
    labels = tools.get(None, "node/weft-gpu")["metadata"]["labels"]
    assert not [key for key in labels if key.startswith("nvidia.com/")]
    kubectl("-n", namespace, "delete", "pod", "wants-one", "wants-eight", "--wait=true")
    tools.apply(namespace, pod("by-product", {f"{PRODUCT[0]}": PRODUCT[1]}, gpus=8))
    until("nothing matches", lambda: _unschedulable(namespace, "by-product"))

    command("gpus", "8")
    tools.wait_ready(namespace, "pod/by-product")


def _unschedulable(namespace: str, name: str) -> bool:
    conditions = tools.get(namespace, f"pod/{name}")["status"].get("conditions", [])
    return any(c.get("reason") == "Unschedulable" for c in conditions)


def test_kuberay_makes_a_rayclusters_pods_and_removes_them(namespace: str) -> None:
    tools.apply(namespace, _ray_cluster())
    by_group = "ray.io/cluster=tiny"

    def running() -> bool:
        pods = tools.get(namespace, "pods", "-l", by_group)["items"]
        return len(pods) == 2 and all(p["status"]["phase"] == "Running" for p in pods)

    until("head and worker run", running, seconds=90)
    pods = tools.get(namespace, "pods", "-l", by_group)["items"]
    nodes = {p["metadata"]["labels"]["ray.io/node-type"]: p["spec"]["nodeName"] for p in pods}
    assert nodes == {"head": "weft-cpu", "worker": "weft-gpu"}
    assert tools.get(namespace, "service/tiny-head-svc")["spec"]["ports"]

    patch = [{"op": "replace", "path": "/spec/workerGroupSpecs/0/replicas", "value": 0}]
    kubectl(
        "-n", namespace, "patch", "raycluster", "tiny", "--type=json", f"-p={json.dumps(patch)}"
    )
    until("the worker is gone", lambda: _count(namespace, by_group) == 1, seconds=60)
    kubectl("-n", namespace, "delete", "raycluster", "tiny")
    until("the head is gone", lambda: _count(namespace, by_group) == 0, seconds=60)


def _count(namespace: str, selector: str) -> int:
    return len(tools.get(namespace, "pods", "-l", selector)["items"])


def _ray_cluster() -> dict[str, Any]:
    def template(node: dict[str, str], limits: dict[str, str]) -> dict[str, Any]:
        probe = {"exec": {"command": ["true"]}}
        container = {
            "name": "ray",
            "image": BUSYBOX,
            "imagePullPolicy": "Never",
            "command": ["sleep", "3600"],
            "resources": {"limits": {"cpu": "1", "memory": "64Mi", **limits},
                          "requests": {"cpu": "10m", "memory": "16Mi"}},
            "readinessProbe": probe,
            "livenessProbe": probe,
        }  # fmt: skip
        spec = {
            "nodeSelector": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        }
        return {"spec": spec}

    worker = {
        "groupName": "gpu",
        "replicas": 1,
        "minReplicas": 0,
        "maxReplicas": 2,
        "rayStartParams": {},
        "template": template({PRODUCT[0]: PRODUCT[1]}, {"nvidia.com/gpu": "1"}),
    }
    head = {"rayStartParams": {}, "template": template({"weft.dev/node": "cpu"}, {})}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "tiny", "annotations": {"ray.io/overwrite-container-cmd": "true"}},
        "spec": {"rayVersion": "2.60.0", "headGroupSpec": head, "workerGroupSpecs": [worker]},
    }


def test_a_namespace_that_enforces_restricted_refuses_a_pod_that_is_not(namespace: str) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    kubectl("label", "namespace", namespace, label)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        tools.apply(namespace, pod("loose", {"weft.dev/node": "cpu"}))
    assert "violates PodSecurity" in refused.value.stderr


def test_the_audit_log_tells_who_asked_what(namespace: str) -> None:
    kubectl("-n", namespace, "get", "configmaps", "--as=somebody-special", check=False)
    log = tools.state() / "logs" / "audit.log"

    def seen() -> bool:
        for line in log.read_text().splitlines()[::-1]:
            event = json.loads(line)
            who = event.get("impersonatedUser", {}).get("username")
            if who == "somebody-special" and event["objectRef"]["namespace"] == namespace:
                return bool(event["responseStatus"]["code"] == 403)
        return False

    until("the audit log shows the refusal", seen)


def test_an_image_is_built_given_to_both_nodes_and_skipped_when_unchanged(
    namespace: str, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for file in (Path(__file__).parent / "image").iterdir():
        (context / file.name).write_bytes(file.read_bytes())
    tag = "weft.dev/e2e/hello:1"
    order = ("image", tag, "--context", str(context), "--target", "app")
    command(*order)
    assert command(*order).stderr.count(f"has {tag} already") == 2

    for kind in ("cpu", "gpu"):
        tools.apply(namespace, pod(f"hello-{kind}", {"weft.dev/node": kind}, image=tag))
        _wait_for_end(namespace, f"hello-{kind}")
        assert "hello with iniconfig" in kubectl("-n", namespace, "logs", f"hello-{kind}")

    with (context / "hello.py").open("a") as script:
        script.write('print("and more")\n')
    again = command(*order).stderr
    assert again.count(", 0 MB)") == 2, f"only the last layer should have moved:\n{again}"
    tools.apply(namespace, pod("newer", {"weft.dev/node": "gpu"}, image=tag))
    _wait_for_end(namespace, "newer")
    assert "and more" in kubectl("-n", namespace, "logs", "newer")


def _wait_for_end(namespace: str, name: str) -> None:
    def ended() -> bool:
        return bool(tools.get(namespace, f"pod/{name}")["status"]["phase"] == "Succeeded")

    until(f"{name} has run to its end", ended)


def test_a_program_of_ours_runs_in_a_pod_as_nobody(namespace: str) -> None:
    tag = command("program-image", "versitygw").stdout.strip()
    gateway = pod("s3", {"weft.dev/node": "gpu"}, image=tag)
    main = gateway["spec"]["containers"][0]
    main["args"] = ["--access", "a", "--secret", "b", "posix", "/data"]
    main["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    main["readinessProbe"] = {"tcpSocket": {"port": 7070}, "periodSeconds": 1}
    gateway["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    gateway["spec"]["securityContext"] = {"runAsUser": 65534, "fsGroup": 65534}
    tools.apply(namespace, gateway)
    tools.wait_ready(namespace, "pod/s3")


def test_helm_talks_to_the_cluster() -> None:
    assert "NAME" in tools.tool("helm", "list", "-A")
