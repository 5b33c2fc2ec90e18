"""Which cluster ``up`` gives: one that exists, kind on a Docker engine, or this machine's own."""

from __future__ import annotations

import os
from pathlib import Path

from . import local
from .say import say
from .settings import ClusterError, admin_kubeconfig
from .shell import run


def up(asked: str | None) -> str:
    """Make or find the cluster; returns the lines that a person's shell needs."""
    named = asked or os.environ.get("WEFT_KUBECONFIG")
    if named:
        return _existing(Path(named).expanduser().resolve())
    local.up()
    say("the cluster is up")
    return local.exports()


def _existing(kubeconfig: Path) -> str:
    """Somebody's own cluster: nothing is installed in it, only looked at."""
    kubectl = ["kubectl", f"--kubeconfig={kubeconfig}", "--request-timeout=20s"]
    run([*kubectl, "get", "--raw", "/readyz"])
    try:
        run([*kubectl, "get", "crd", "rayclusters.ray.io"])
    except ClusterError:
        raise ClusterError(
            f"the cluster of {kubeconfig} has no KubeRay: install its operator first "
            "(https://docs.ray.io/en/latest/cluster/kubernetes/)"
        ) from None
    say("the cluster answers and has KubeRay")
    return f"export KUBECONFIG={kubeconfig}"


def down(*, purge: bool) -> None:
    local.down(purge=purge)
    if not admin_kubeconfig().exists():
        say("the cluster is down")
