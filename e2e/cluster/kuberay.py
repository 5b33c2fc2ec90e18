"""The KubeRay operator, as a process of the machine with rights of its own.

It runs outside the nodes, so that a test may kill a node without killing KubeRay. It has the very
ClusterRole that comes with it and no more.
"""

from __future__ import annotations

from pathlib import Path

from . import builds, certificates, processes
from .controlplane import apply, cluster_role_binding
from .kubectl import kubectl
from .shell import answers, wait_until

NAME = "kuberay-operator"
_HEALTH = "127.0.0.1:18082"
CRDS = ("rayclusters", "raycronjobs", "rayjobs", "rayservices")


def start(kubeconfig: Path | None = None) -> None:
    """Install the CRDs and run the operator; with no kubeconfig given, as its own user."""
    built = builds.built_folder("kuberay")
    # Too large for client-side apply. All four must exist, or the operator does not start.
    kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", built / "bases",
        "-f", built / "role.yaml", seconds=120,
    )  # fmt: skip
    apply([cluster_role_binding(NAME, NAME, user=NAME)])
    wait = ["wait", "--for=condition=Established", "--timeout=60s"]
    kubectl(*wait, *(f"crd/{crd}.ray.io" for crd in CRDS), seconds=60)
    processes.start(
        NAME,
        [
            builds.program("kuberay", "ray-operator"),
            "-enable-leader-election=false",
            "-metrics-addr=127.0.0.1:18080",
            f"-health-probe-bind-address={_HEALTH}",
            # Ray's dashboards are asked through the API server: the machine does not use the
            # cluster's DNS.
            "-use-kubernetes-proxy=true",
        ],
        env={"KUBECONFIG": str(kubeconfig or certificates.kubeconfig(NAME))},
    )


def healthy() -> bool:
    return answers(f"http://{_HEALTH}/readyz")


def wait_ready() -> None:
    wait_until(
        "the KubeRay operator is ready",
        healthy,
        seconds=60,
        log=processes.log_of(NAME),
        alive=lambda: processes.runs(NAME),
    )
