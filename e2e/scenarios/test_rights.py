"""The operator was never refused what it asked for, by the API server's own audit log of the run.

Runs last. That it is granted nothing else, `operator_tests/test_granted_rights.py` holds.
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


@pytest.fixture(scope="module")
def account(weft: Kube) -> str:
    name = operator_pods(weft)[0]["spec"]["serviceAccountName"]
    return f"system:serviceaccount:{SYSTEM}:{name}"


def test_the_operator_was_refused_nothing(weft: Kube, account: str) -> None:
    refused = {right for right, allowed in _asked(weft, account) if not allowed}
    assert not refused


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
