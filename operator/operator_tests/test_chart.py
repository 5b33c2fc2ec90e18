"""The chart, rendered by the real Helm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "weft"
CACHE = Path(os.environ.get("WEFT_CACHE") or Path.home() / ".cache" / "weft") / "cluster"

Object = dict[str, Any]


def helm(*args: str) -> subprocess.CompletedProcess[str]:
    built = list((CACHE / "bin").glob("helm-*/helm"))
    if not built:
        subprocess.run([ROOT / "e2e/cluster/build", "helm"], check=True, timeout=1800)
        built = list((CACHE / "bin").glob("helm-*/helm"))
    return subprocess.run([built[-1], *args], capture_output=True, text=True, timeout=60)


def render(*settings: str) -> list[Object]:
    sets = [part for setting in settings for part in ("--set", setting)]
    known = ["--kube-version", "1.36.1", "--api-versions", "ray.io/v1/RayCluster"]
    done = helm("template", "weft", str(CHART), "--namespace", "weft-system", *known, *sets)
    assert done.returncode == 0, done.stderr
    return [obj for obj in yaml.safe_load_all(done.stdout) if obj]


def named(objects: list[Object], kind: str, name: str = "") -> Object:
    found = [o for o in objects if o["kind"] == kind and name in o["metadata"]["name"]]
    assert len(found) == 1, [(o["kind"], o["metadata"]["name"]) for o in objects]
    return found[0]


def kinds(objects: list[Object]) -> set[str]:
    return {obj["kind"] for obj in objects}


def test_the_chart_passes_helms_own_check() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_crds_stay_when_the_release_goes() -> None:
    crds = [o for o in render() if o["kind"] == "CustomResourceDefinition"]
    assert len(crds) == 2
    assert {c["metadata"]["annotations"]["helm.sh/resource-policy"] for c in crds} == {"keep"}
    assert "CustomResourceDefinition" not in kinds(render("crds.install=false"))


def test_every_pod_of_the_chart_is_restricted() -> None:
    objects = render()
    pods = [named(objects, "Deployment")["spec"]["template"]["spec"]]
    pods.append(named(objects, "Pod")["spec"])
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"] is True


def test_one_namespaces_scope_grants_nothing_beyond_it() -> None:
    objects = render(
        "scope.namespaces={team-a,team-b}", "scope.nodes=false", "rbac.aggregate=false"
    )
    assert "ClusterRole" not in kinds(objects)
    roles = [
        (o["metadata"]["namespace"], o["metadata"]["name"]) for o in objects if o["kind"] == "Role"
    ]
    assert roles == [
        ("weft-system", "weft-operator-leader"),
        ("team-a", "weft-operator"),
        ("team-b", "weft-operator"),
    ]
    args = named(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--namespace=team-a", "--namespace=team-b", "--no-nodes"} <= set(args)


def test_no_role_of_the_operator_has_a_star_or_reads_all_secrets() -> None:
    for scope in ((), ("scope.namespaces={team}",)):
        for obj in render(*scope):
            if obj["kind"] not in ("Role", "ClusterRole"):
                continue
            for rule in obj["rules"]:
                assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
                if "secrets" in rule["resources"]:
                    assert set(rule["verbs"]) == {"get", "create"}


def test_one_replica_needs_no_disruption_budget_and_monitors_come_when_asked_for() -> None:
    assert "PodDisruptionBudget" in kinds(render())
    assert "PodDisruptionBudget" not in kinds(render("replicas=1"))
    assert not {"ServiceMonitor", "PodMonitor"} & kinds(render())
    asked = render("metrics.serviceMonitor.enabled=true", "metrics.podMonitor.enabled=true")
    assert {"ServiceMonitor", "PodMonitor"} <= kinds(asked)


def test_the_flags_that_the_chart_sets_are_flags_of_the_operator() -> None:
    from weft_operator.__main__ import _parser

    everything = render(
        "scope.namespaces={a}",
        "scope.nodes=false",
        "agents.pullPolicy=Never",
        "agents.imagePullSecrets={registry}",
        "networkPolicy.metricsNamespaces={monitoring}",
    )
    for objects in (render(), everything):
        args = named(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
        _parser().parse_args(args)  # ends the process for what it does not know


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("replicas=0", "replicas"),
        ("log.level=loud", "log.level"),
        ("imge.tag=1", "imge"),
        ("agents.pullPolicy=Sometimes", "pullPolicy"),
        ("scope.namespaces={Team_A}", "scope.namespaces"),
        ("image.digest=sha256:12", "digest"),
    ],
)
def test_wrong_values_are_refused_by_name(setting: str, said: str) -> None:
    done = helm("template", "weft", str(CHART), "--kube-version", "1.36.1", "--set", setting)
    assert done.returncode != 0
    assert said in done.stderr.replace("/", ".")


def test_the_kustomize_base_is_the_chart() -> None:
    base = ROOT / "config" / "operator" / "operator.yaml"
    wanted = [o for o in render("crds.install=false") if "helm.sh/hook" not in _notes(o)]
    assert list(yaml.safe_load_all(base.read_text())) == wanted, "run config/render"


def _notes(obj: Object) -> Object:
    notes: Object = obj["metadata"].get("annotations") or {}
    return notes
