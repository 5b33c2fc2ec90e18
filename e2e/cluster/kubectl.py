"""kubectl as the cluster's admin, for the few things that this package asks the API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import builds
from .settings import ClusterError, admin_kubeconfig
from .shell import Words, run


def kubectl(*words: str | Path, stdin: str | None = None, seconds: float = 60) -> str:
    command: Words = [
        builds.program("kubectl", "kubectl"),
        f"--kubeconfig={admin_kubeconfig()}",
        f"--request-timeout={seconds:.0f}s",
        *words,
    ]
    return run(command, stdin=stdin, seconds=seconds + 5)


def get(*words: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(kubectl("get", *words, "-o", "json"))
    return answer


def api_ready() -> bool:
    try:
        return kubectl("get", "--raw", "/readyz", seconds=5).strip() == "ok"
    except ClusterError:
        return False


def node_ready(name: str) -> bool:
    try:
        node = get("node", name)
    except ClusterError:
        return False
    conditions = node.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
