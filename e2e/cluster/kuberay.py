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
    _install_crds(built / "bases")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", built / "role.yaml")
    apply([cluster_role_binding(NAME, NAME, user=NAME)])
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


def _install_crds(folder: Path) -> None:
    """All four must exist, or the operator does not start.

    They are too large for client-side apply; and of the API server, on two cores, `create` asks 6 s
    and server-side apply 10 s.
    """
    present = kubectl("get", "crd", "-o", "name")
    missing = [crd for crd in CRDS if f"/{crd}.ray.io" not in present]
    files = [word for crd in missing for word in ("-f", folder / f"ray.io_{crd}.yaml")]
    if files:
        kubectl("create", "--validate=false", *files, seconds=120)
    wait = ["wait", "--for=condition=Established", "--timeout=60s"]
    kubectl(*wait, *(f"crd/{crd}.ray.io" for crd in CRDS), seconds=60)


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
