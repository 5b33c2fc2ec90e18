"""The generated CRDs in a real API server: it takes them, and they refuse what they should."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from weft_api.generate import crds

if TYPE_CHECKING:
    from conftest import ApiServer, BadManifest

pytestmark = pytest.mark.cluster

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PLURALS = {"SyntheticPipeline": "syntheticpipelines", "AgentPool": "agentpools"}
OBJECTS = "/apis/weft.dev/v1alpha1/namespaces/default/"
PIPELINE: dict[str, Any] = {
    "apiVersion": "weft.dev/v1alpha1",
    "kind": "SyntheticPipeline",
    "metadata": {"name": "support"},
    "spec": {
        "source": {"dataset": {"uri": "/data/tickets.jsonl"}},
        "output": {"uri": "/data/support"},
        "flow": {
            "entry": "drafter",
            "steps": [{"name": "drafter", "next": [{"to": "$accept"}]}],
        },
    },
}
POOL: dict[str, Any] = {
    "apiVersion": "weft.dev/v1alpha1",
    "kind": "AgentPool",
    "metadata": {"name": "drafter"},
    "spec": {
        "pipelineRef": {"name": "support"},
        "agent": "weft.builtin:ChatAgent",
        "config": {"prompt": "draft", "deep": {"er": [1, "x"]}},
        "gpu": {"count": 1, "memory": "80Gi"},
        "resources": {"requests": {"cpu": 2, "memory": "2Gi"}},
        "podTemplate": {"spec": {"priorityClassName": "batch"}},
        "engine": {"simulator": {"slots": 8}},
    },
}


@pytest.fixture(scope="module")
def weft(api_server: ApiServer) -> ApiServer:
    for crd in crds():
        status, answer = api_server.call("POST", f"{CRDS}?fieldValidation=Strict", crd)
        assert status == 201, answer["message"]
    deadline = time.monotonic() + 20
    paths = [OBJECTS + plural for plural in PLURALS.values()]
    while any(api_server.call("GET", path)[0] != 200 for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return api_server


@pytest.fixture(scope="module")
def objects(weft: ApiServer) -> dict[str, dict[str, Any]]:
    """A pipeline and its pool, as the API server keeps them."""
    kept = {}
    for obj in (PIPELINE, POOL):
        status, answer = create(weft, obj)
        assert status == 201, answer["message"]
        kept[obj["kind"]] = answer
    return kept


def create(server: ApiServer, obj: dict[str, Any], *, dry: bool = False) -> tuple[int, Any]:
    query = "?fieldValidation=Strict" + ("&dryRun=All" if dry else "")
    return server.call("POST", OBJECTS + PLURALS[obj["kind"]] + query, obj)


def patch(server: ApiServer, path: str, change: dict[str, Any]) -> tuple[int, Any]:
    return server.call("PATCH", OBJECTS + path, change, kind="merge-patch")


def test_the_schemas_are_structural(weft: ApiServer) -> None:
    for crd in crds():
        _, seen = weft.call("GET", f"{CRDS}/{crd['metadata']['name']}")
        conditions = {item["type"]: item["status"] for item in seen["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert conditions["NamesAccepted"] == "True"
        assert conditions.get("NonStructuralSchema", "False") == "False"


def test_admission_does_what_the_table_says(weft: ApiServer, bad_manifest: BadManifest) -> None:
    if bad_manifest.admission == "unsent":
        return
    documents = yaml.safe_load_all(bad_manifest.path.read_text(encoding="utf-8"))
    answers = [create(weft, obj, dry=True) for obj in documents]
    messages = [answer["message"] for status, answer in answers if status != 201]
    if bad_manifest.admission == "taken":
        assert messages == []
    else:
        assert [message for message in messages if bad_manifest.words in message]


@pytest.mark.usefixtures("objects")
@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        (
            "syntheticpipelines/support",
            {"spec": {"output": {"uri": "/data/other"}}},
            "the output cannot change; make a pipeline of another name",
        ),
        (
            "syntheticpipelines/support",
            {"spec": {"source": {"dataset": {"uri": "/data/other.jsonl"}}}},
            "the source cannot change; make a pipeline of another name",
        ),
        (
            "syntheticpipelines/support",
            {"spec": {"source": {"dataset": None, "generate": {"rows": 5}}}},
            "the kind of source cannot change; make a pipeline of another name",
        ),
        (
            "agentpools/drafter",
            {"spec": {"pipelineRef": {"name": "other"}}},
            "a pool cannot move to another pipeline; make a new pool there",
        ),
        (
            "agentpools/drafter",
            {"spec": {"step": "validator"}},
            "a pool cannot move to another step; make a new pool for it",
        ),
    ],
)
def test_what_cannot_change_is_refused(
    weft: ApiServer, path: str, change: dict[str, Any], words: str
) -> None:
    status, answer = patch(weft, path, change)
    assert status == 422
    assert words in answer["message"]


@pytest.mark.usefixtures("objects")
def test_what_may_change_is_taken(weft: ApiServer) -> None:
    status, answer = patch(weft, "syntheticpipelines/support", {"spec": {"suspend": True}})
    assert status == 200, answer
    change = {"spec": {"image": "agents:2", "config": {"prompt": "other"}, "concurrency": 8}}
    status, answer = patch(weft, "agentpools/drafter", change)
    assert status == 200, answer


def test_defaults_are_filled_in(objects: dict[str, dict[str, Any]]) -> None:
    spec = objects["SyntheticPipeline"]["spec"]
    assert spec["delivery"]["inFlightRows"] == 1000
    assert spec["delivery"]["lease"] == "10s"
    assert spec["flow"]["maxHops"] == 64
    assert spec["output"]["commitInterval"] == "5s"
    pool = objects["AgentPool"]["spec"]
    assert pool["replicas"] == 1
    assert pool["engine"]["simulator"]["latency"] == {"median": "200ms", "sigma": 0.5}


def test_free_objects_are_kept_whole(objects: dict[str, dict[str, Any]]) -> None:
    kept = objects["AgentPool"]["spec"]
    assert kept["config"] == POOL["spec"]["config"]
    assert kept["podTemplate"] == POOL["spec"]["podTemplate"]


@pytest.mark.usefixtures("objects")
def test_a_pool_is_scaled_by_its_subresource(weft: ApiServer) -> None:
    status, answer = patch(weft, "agentpools/drafter/scale", {"spec": {"replicas": 3}})
    assert status == 200, answer
    _, pool = weft.call("GET", f"{OBJECTS}agentpools/drafter")
    assert pool["spec"]["replicas"] == 3
    change = {"status": {"replicas": 2, "selector": "weft.dev/pool=drafter"}}
    status, answer = patch(weft, "agentpools/drafter/status", change)
    assert status == 200, answer
    _, scale = weft.call("GET", f"{OBJECTS}agentpools/drafter/scale")
    assert scale["status"] == {"replicas": 2, "selector": "weft.dev/pool=drafter"}


@pytest.mark.usefixtures("objects")
def test_scaling_beyond_autoscaling_is_refused_with_the_reason(weft: ApiServer) -> None:
    bounds = {"metadata": {"name": "bounded"}, "spec": {**POOL["spec"], "step": "drafter"}}
    bounds["spec"]["autoscaling"] = {"min": 1, "max": 4}
    status, answer = create(weft, {**POOL, **bounds})
    assert status == 201, answer
    status, answer = patch(weft, "agentpools/bounded/scale", {"spec": {"replicas": 9}})
    assert status == 422
    assert "outside of autoscaling's min and max" in answer["message"]


@pytest.mark.parametrize(
    "kind",
    [
        {"pii": {"entities": ["EMAIL_ADDRESS"]}},
        {"blocked": {"terms": ["acme"]}},
        {"blocked": {"patterns": ["[0-9]{9}"]}},
        {"blocked": {"python": "shop.rules:blocked"}},
        {"limits": {"perRow": 8000}},
        {"source": {"column": "licence", "values": ["MIT"]}},
        {"tools": {"names": []}},
    ],
    ids=lambda kind: " ".join(f"{k} {next(iter(v))}" for k, v in kind.items()),
)
def test_a_rule_of_governance_needs_no_more_than_its_kind(
    weft: ApiServer, kind: dict[str, Any]
) -> None:
    obj = json.loads(json.dumps(PIPELINE))
    obj["metadata"]["name"] = "governed"
    obj["spec"]["governance"] = [{"name": "mine", "action": "reject", **kind}]
    status, answer = create(weft, obj, dry=True)
    assert status == 201, answer["message"]


def test_a_full_status_is_kept(weft: ApiServer, objects: dict[str, dict[str, Any]]) -> None:
    status = {
        "phase": "Running",
        "observedGeneration": 1,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "AllPoolsServing",
                "message": "",
                "lastTransitionTime": "2026-01-31T12:00:00Z",
                "observedGeneration": 1,
            }
        ],
        "rows": {
            "total": 500,
            "accepted": 1,
            "rejected": 2,
            "dead": 3,
            "inFlight": 4,
            "committing": 0,
            "pending": 5,
        },
        "tokens": {"prompt": 1, "completion": 2},
        "output": {"uri": "/data/support", "version": 7},
        "pools": "1/1",
        "rayCluster": "support",
    }
    code, answer = patch(weft, "syntheticpipelines/support/status", {"status": status})
    assert code == 200, answer
    assert answer["status"] == status


def test_get_shows_the_state_at_a_glance(weft: ApiServer, objects: dict[str, Any]) -> None:
    for crd in crds():
        version = crd["spec"]["versions"][0]
        shown = [c["name"] for c in version["additionalPrinterColumns"] if "priority" not in c]
        _, table = weft.table(OBJECTS + crd["spec"]["names"]["plural"])
        columns = [c["name"] for c in table["columnDefinitions"] if c["priority"] == 0]
        assert columns == ["Name", *shown]


def test_explain_has_each_fields_text(weft: ApiServer) -> None:
    deadline = time.monotonic() + 30
    while weft.call("GET", "/openapi/v3/apis/weft.dev/v1alpha1")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    _, document = weft.call("GET", "/openapi/v3/apis/weft.dev/v1alpha1")
    kind = document["components"]["schemas"]["dev.weft.v1alpha1.SyntheticPipeline"]
    delivery = kind["properties"]["spec"]["properties"]["delivery"]["properties"]
    assert delivery["maxAttempts"]["description"].endswith("Example: 3")
