"""The operator's rights are those that it uses, by the API server's own audit log of the run.

Runs last; `test_every_right_is_used` only when all scenarios are run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.scenarios.installation import SYSTEM, operator_pods
from e2e.scenarios.kube import Kube, Object

Right = tuple[str, str, str]
"""API group, resource (with its subresource), verb."""

ON_OCCASION = frozenset(
    {
        # Asked for at the start only, which may have been before the audit log was begun.
        ("", "nodes", "list"),
        ("", "nodes", "watch"),
        # An object of the wanted name is there and belongs to somebody else.
        ("", "configmaps", "get"),
        ("ray.io", "rayclusters", "get"),
        # Pods that KubeRay has orphaned.
        ("", "pods", "delete"),
    }
)
"""Held by the operator's own tests on an API server: no scenario here leads to them for sure."""


@pytest.fixture(scope="module")
def account(weft: Kube) -> str:
    name = operator_pods(weft)[0]["spec"]["serviceAccountName"]
    return f"system:serviceaccount:{SYSTEM}:{name}"


def test_the_operator_was_refused_nothing(weft: Kube, account: str) -> None:
    refused = {right for right, allowed in _asked(weft, account) if not allowed}
    assert not refused


def test_every_right_is_used(weft: Kube, account: str) -> None:
    used = {right for right, allowed in _asked(weft, account) if allowed}
    granted = _granted(weft, account)
    assert granted - used - ON_OCCASION == set(), "granted, and never used"
    assert used <= granted, "used by some other role's leave"


def _asked(kube: Kube, account: str) -> Iterator[tuple[Right, bool]]:
    """What it asked for, and whether it had the right to. (A namespace that is being deleted
    answers 403 too: that is no matter of rights.)"""
    with (kube.kubeconfig.parent / "logs" / "audit.log").open() as log:
        for line in log:
            if account not in line:
                continue
            entry: dict[str, Any] = json.loads(line)
            target = entry.get("objectRef")
            if entry["user"]["username"] != account or target is None:
                continue
            right = (target.get("apiGroup", ""), _resource(target), entry["verb"])
            yield right, entry["annotations"]["authorization.k8s.io/decision"] == "allow"


def _resource(target: Object) -> str:
    below = target.get("subresource")
    return f"{target['resource']}/{below}" if below else str(target["resource"])


def _granted(kube: Kube, account: str) -> set[Right]:
    """All rules of all roles that are bound to the account."""
    *_, namespace, name = account.split(":")
    found = set()
    for binding in _all(kube, "clusterrolebindings") + _all(kube, "rolebindings"):
        subjects = binding.get("subjects") or []
        if not any((s.get("namespace"), s["name"]) == (namespace, name) for s in subjects):
            continue
        ref = binding["roleRef"]
        where = kube.within(binding["metadata"].get("namespace", ""))
        for rule in where.get(ref["kind"].lower(), ref["name"])["rules"]:
            found |= {
                (group, resource, verb)
                for group in rule.get("apiGroups", ())
                for resource in rule.get("resources", ())
                for verb in rule["verbs"]
            }
    return found


def _all(kube: Kube, kind: str) -> list[Object]:
    items: list[Object] = json.loads(kube.run("get", kind, "-A", "-o", "json"))["items"]
    return items
