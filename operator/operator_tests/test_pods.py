"""The pods of head, writers and agents."""

from __future__ import annotations

from typing import Any

from operator_tests.samples import DEFAULTS, pipeline, pool, stored
from weft_api.parse import parse_pipeline, parse_pool
from weft_operator.decide import pods
from weft_operator.decide.overlay import lay_over
from weft_operator.decide.raycluster import head_revision
from weft_operator.jsontypes import Object


def agent(pool_spec: dict[str, Any], **pipeline_spec: Any) -> Object:
    of = parse_pipeline(stored(pipeline(**pipeline_spec)))
    return pods.agent_template(parse_pool(stored(pool(**pool_spec))), of, DEFAULTS, "r1")


def container(template: Object) -> Object:
    found: Object = template["spec"]["containers"][0]
    return found


def env(template: Object) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container(template)["env"]}


def test_gpus_become_limits_a_node_selector_and_a_bound_on_memory() -> None:
    gpu = {"count": 2, "product": "NVIDIA-H100-80GB-HBM3", "memory": "80Gi"}
    template = agent({"gpu": gpu, "nodeSelector": {"zone": "a"}})
    assert container(template)["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert template["spec"]["nodeSelector"] == {
        "zone": "a",
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    }
    terms = template["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    (least,) = terms[0]["matchExpressions"]
    assert (least["key"], least["operator"]) == ("nvidia.com/gpu.memory", "Gt")
    assert int(least["values"][0]) < 81559, "an H100 of 80 GB says 81559 MiB"
    assert int(least["values"][0]) > 49140, "an L40S of 48 GB does not do"


def test_the_head_asks_for_no_gpu_and_hosts_the_control_api() -> None:
    template = pods.head_template(parse_pipeline(stored(pipeline())), DEFAULTS, "r1")
    assert "nvidia.com/gpu" not in str(container(template)["resources"])
    assert container(template)["command"] == ["weft", "head"]
    ports = {p["name"]: p["containerPort"] for p in container(template)["ports"]}
    assert ports["weft"] == 8484
    assert container(template)["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": 8484}


def test_every_pod_is_restricted() -> None:
    of = parse_pipeline(stored(pipeline()))
    for template in (
        agent({}),
        pods.head_template(of, DEFAULTS, "r1"),
        pods.writer_template(of, DEFAULTS, "r1"),
    ):
        security = template["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        own = container(template)["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert template["spec"]["automountServiceAccountToken"] is False
        assert template["spec"]["terminationGracePeriodSeconds"] > pods.DRAIN_SECONDS


def test_secrets_are_in_the_pods_by_reference_only() -> None:
    engine = {
        "openai": {
            "baseURL": "https://api.example/v1",
            "model": "m",
            "apiKeySecretRef": {"name": "openai", "key": "api-key"},
        }
    }
    template = agent({"engine": engine}, storage={"secretRef": {"name": "bucket"}})
    assert container(template)["envFrom"] == [{"secretRef": {"name": "bucket"}}]
    key = {"secretKeyRef": {"name": "openai", "key": "api-key"}}
    assert env(template)["OPENAI_API_KEY"] == key
    token = {"secretKeyRef": {"name": "support-weft-token", "key": "token"}}
    assert env(template)["WEFT_TOKEN"] == token


def test_the_key_of_the_lineage_endpoint_is_in_the_heads_pod_and_rolls_it() -> None:
    receiver = {"url": "http://marquez:5000", "apiKeySecretRef": {"name": "lineage"}}
    told = parse_pipeline(stored(pipeline(lineage={"openLineage": receiver})))
    head = pods.head_template(told, DEFAULTS, "r1")
    assert env(head)["LINEAGE_API_KEY"] == {"secretKeyRef": {"name": "lineage", "key": "api-key"}}
    assert "LINEAGE_API_KEY" not in env(pods.writer_template(told, DEFAULTS, "r1"))
    assert "LINEAGE_API_KEY" not in env(agent({}, lineage={"openLineage": receiver}))
    without = parse_pipeline(stored(pipeline()))
    assert head_revision(told) != head_revision(without)


def test_the_secrets_of_mcp_servers_are_in_the_pods_that_call_them() -> None:
    header = {"name": "Authorization", "secretRef": {"name": "shop", "key": "token"}}
    server = {"url": "http://shop:8000/mcp", "headers": [header]}
    template = agent({}, tools=[{"name": "shop", "mcp": server}])
    assert env(template)["SHOP_TOKEN"] == {"secretKeyRef": {"name": "shop", "key": "token"}}


def test_an_agent_knows_its_pool_its_revision_and_its_head() -> None:
    found = env(agent({"image": "mine:1"}))
    assert found["WEFT_POOL"] == "drafter"
    assert found["WEFT_REVISION"] == "r1"
    assert found["WEFT_IMAGE"] == "mine:1"
    assert found["WEFT_HEAD"] == "http://support-head-svc.team.svc:8484"
    assert found["WEFT_PLAN"] == "/etc/weft/plan.json"
    assert {"POD_NAME", "POD_IP", "NODE_NAME"} <= found.keys()


def test_a_manifest_cannot_take_the_operators_variables_or_labels() -> None:
    overlay = {"metadata": {"labels": {"weft.dev/pool": "x", "team": "blue"}}}
    template = agent(
        {"env": [{"name": "WEFT_POOL", "value": "x"}, {"name": "A", "value": "1"}]}
        | {"podTemplate": overlay}
    )
    assert env(template)["WEFT_POOL"] == "drafter"
    assert env(template)["A"] == "1"
    labels = template["metadata"]["labels"]
    assert (labels["weft.dev/pool"], labels["team"]) == ("drafter", "blue")


def test_an_overlay_adds_a_volume_and_keeps_what_is_there() -> None:
    overlay = {
        "spec": {
            "priorityClassName": "batch",
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
            "containers": [
                {
                    "name": "ray",
                    "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                    "securityContext": {"readOnlyRootFilesystem": True},
                },
                {"name": "sidecar", "image": "side:1"},
            ],
        }
    }
    template = agent({"podTemplate": overlay})
    assert template["spec"]["priorityClassName"] == "batch"
    assert [v["name"] for v in template["spec"]["volumes"]] == ["plan", "models"]
    assert [c["name"] for c in template["spec"]["containers"]] == ["ray", "sidecar"]
    mounts = [m["mountPath"] for m in container(template)["volumeMounts"]]
    assert mounts == ["/etc/weft", "/models"]
    assert container(template)["securityContext"]["allowPrivilegeEscalation"] is False
    assert container(template)["securityContext"]["readOnlyRootFilesystem"] is True


def test_laying_over_replaces_adds_and_takes_away() -> None:
    base = {"a": {"x": 1, "y": 2}, "args": ["1"], "tolerations": [{"key": "a"}]}
    overlay = {"a": {"x": None}, "args": ["2"], "tolerations": [{"key": "b"}], "new": 1}
    assert lay_over(base, overlay) == {
        "a": {"y": 2},
        "args": ["2"],
        "tolerations": [{"key": "a"}, {"key": "b"}],
        "new": 1,
    }
    assert base["a"] == {"x": 1, "y": 2}, "what lies below is not changed"
