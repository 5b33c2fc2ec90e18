"""Which cluster the commands work on: one that exists, kind in Docker, or this machine's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import gpus, images, kind, kuberay, local, nodes, processes, tinyimages
from .say import say
from .settings import NODES, ClusterError, Node, admin_kubeconfig, state_folder
from .shell import run

_KINDS = ("local", "kind")


def _given(asked: str | None = None) -> Path | None:
    named = asked or os.environ.get("WEFT_KUBECONFIG")
    return Path(named).expanduser().resolve() if named else None


def _in_docker() -> bool:
    """WEFT_CLUSTER_PROVIDER decides, else whether a Docker engine runs here."""
    wanted = os.environ.get("WEFT_CLUSTER_PROVIDER")
    if wanted and wanted not in _KINDS:
        raise ClusterError(f"WEFT_CLUSTER_PROVIDER is {' or '.join(_KINDS)}, not {wanted!r}")
    if wanted:
        return wanted == "kind"
    return kind.possible()


def _only_ours(what: str) -> None:
    if _given() is not None:
        raise ClusterError(f"{what} is not for a cluster that was only lent (WEFT_KUBECONFIG)")


def up(asked: str | None) -> str:
    """Make or find the cluster; returns the lines that a person's shell needs."""
    given = _given(asked)
    if given is not None:
        return _existing(given)
    if _in_docker():
        kind.up()
        gpu_nodes = [node for node in NODES if node.gpus]
        for node in gpu_nodes:
            gpus.give(kind.NODE_NAMES[node.name], node.gpus)
    else:
        local.up()
    say("the cluster is up")
    return local.exports()


def _existing(kubeconfig: Path) -> str:
    """Somebody's own cluster: nothing is installed in it, only looked at."""
    if shutil.which("kubectl") is None:
        raise ClusterError("an existing cluster is looked at with its own kubectl; there is none")
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
    if _given() is not None:
        say("the cluster of WEFT_KUBECONFIG was only lent; nothing to take down")
        return
    if _in_docker():
        processes.stop(kuberay.NAME)
        kind.down()
        admin_kubeconfig().unlink(missing_ok=True)
    else:
        local.down(purge=purge)
    say("the cluster is down")


def node(action: str, which: Node, *, keep_pods: bool) -> None:
    _only_ours("stopping and starting nodes")
    if _in_docker():
        kind.node(action, which.name, keep_pods=keep_pods)
    elif action == "stop":
        nodes.stop(which, keep_pods=keep_pods)
    else:
        nodes.start(which)
        nodes.wait_ready(which)


def kuberay_operator(action: str) -> None:
    """Kill it, or start it again."""
    _only_ours("stopping and starting KubeRay")
    if action == "stop":
        processes.stop(kuberay.NAME, grace=0)
    else:
        kuberay.start(admin_kubeconfig() if _in_docker() else None)
        kuberay.wait_ready()


def give_gpus(which: Node, count: int, product: str, memory: int) -> None:
    _only_ours("pretending GPUs")
    name = kind.NODE_NAMES[which.name] if _in_docker() else which.name
    gpus.give(name, count, product, memory)


def program_image(component: str) -> str:
    """Let pods run one of the Go programs; returns the image's tag."""
    _only_ours("bringing images to nodes")
    tag, archive = tinyimages.of_program(component)
    if _in_docker():
        kind.load_archive(archive)
        return tag
    with local.alone():
        for which in NODES:
            nodes.load_archive(which, tag, archive)
    return tag


def image(order: images.Order, only: tuple[Node, ...], *, load: bool) -> str:
    """Build the image and let the nodes have it; returns what identifies its content."""
    _only_ours("bringing images to nodes")
    if _in_docker():
        kind.build_and_load(order.tag, str(order.dockerfile), str(order.context), order.target)
        inspect = ["docker", "image", "inspect", "--format={{.Id}}", order.tag]
        return run(inspect).strip()
    digest = images.build(order)
    if load:
        if not admin_kubeconfig().exists():
            raise ClusterError(f"the image is built, but no cluster is in {state_folder()}")
        with local.alone():
            images.load(order.tag, only)
    return digest
