"""The cluster in containers, where a Docker engine runs: kind, with the same two kinds of nodes.

KubeRay runs as a process of the machine here too, with the rights of kind's admin. There is no
audit log, and NetworkPolicies do hold (kind's own network plug-in knows them).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from . import builds, kuberay
from .say import step
from .settings import NODES, ClusterError, admin_kubeconfig, logs_folder, state_folder
from .shell import run, succeeds, write

_NAME = "weft"
_LOG = "kind.log"
# kind names its workers itself, in the order of its configuration.
NODE_NAMES = dict(zip([n.name for n in NODES], ["weft-worker", "weft-worker2"], strict=True))


def possible() -> bool:
    """Whether a Docker engine answers; its client alone is of no use."""
    return shutil.which("docker") is not None and succeeds(["docker", "info"], seconds=10)


def _config() -> str:
    workers = [
        {"role": "worker", "labels": {"weft.dev/node": "gpu" if node.gpus else "cpu"}}
        for node in NODES
    ]
    return json.dumps(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "name": _NAME,
            "nodes": [{"role": "control-plane"}, *workers],
        }
    )


def exists() -> bool:
    kind = builds.built_folder("kind") / "kind"
    return kind.exists() and _NAME in run([kind, "get", "clusters"]).split()


def up() -> None:
    for name in ("kind", "kubectl", "kuberay", "helm"):
        builds.build(name)
    builds.link_tools(state_folder() / "bin")
    if not exists():
        config = state_folder() / "kind.json"
        write(config, _config())
        log = logs_folder() / _LOG
        with step(f"making a kind cluster (log: {log})"):
            create = ["create", "cluster", f"--config={config}", "--wait=180s"]
            where = [f"--kubeconfig={admin_kubeconfig()}"]
            run([builds.program("kind", "kind"), *create, *where], seconds=900, log=log)
    kuberay.start(admin_kubeconfig())
    kuberay.wait_ready()


def down() -> None:
    if exists():
        kind = builds.program("kind", "kind")
        run([kind, "delete", "cluster", f"--name={_NAME}"], seconds=300)


def build_and_load(tag: str, dockerfile: str, context: str, target: str) -> None:
    """Docker builds it from the Dockerfile's own base; kind gives it to all nodes."""
    stage = [f"--target={target}"] if target else []
    log = logs_folder() / "docker-build.log"
    with step(f"building {tag} (log: {log})"):
        run(
            ["docker", "build", f"--file={dockerfile}", f"--tag={tag}", *stage, context],
            seconds=3600,
            log=log,
        )
        kind = builds.program("kind", "kind")
        run([kind, "load", "docker-image", tag, f"--name={_NAME}"], seconds=900, log=log)


def load_archive(archive: Path) -> None:
    kind = builds.program("kind", "kind")
    run([kind, "load", "image-archive", archive, f"--name={_NAME}"], seconds=300)


def node(action: str, name: str, *, keep_pods: bool) -> None:
    """A node is a container: stopping it is a power cut, and Docker starts it again whole."""
    if keep_pods:
        raise ClusterError("--keep-pods works on the machine's own cluster only")
    command = "kill" if action == "stop" else "start"
    run(["docker", command, NODE_NAMES[name]])
