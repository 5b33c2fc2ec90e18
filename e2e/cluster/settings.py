"""Names, addresses and folders. Everything that other files must agree on is here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

KUBERNETES_VERSION = "1.36.1"

BRIDGE = "weft0"
NFT_TABLE = "weft_cluster"
POD_CIDR = "10.244.0.0/16"
# Pods get addresses from here up; those below belong to the machine's own end of the bridge.
POD_RANGE_START = "10.244.1.1"
HOST_ADDRESS = "10.244.0.1"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
API_URL = f"https://{HOST_ADDRESS}:6443"
CLUSTER_DOMAIN = "cluster.local"
CONTAINERD_NAMESPACE = "k8s.io"

# Longer paths break unix sockets (108 bytes) that the components make below the state folder.
MAX_STATE_PATH = 60


class ClusterError(Exception):
    """Something that a person has to know; printed without a traceback."""


@dataclass(frozen=True)
class Node:
    """One kubelet with its own containerd. The address is one more on the bridge."""

    name: str
    address: str
    gpus: int = 0


NODES = (
    Node("weft-cpu", "10.244.0.2"),
    Node("weft-gpu", "10.244.0.3", gpus=8),
)


def node_named(name: str) -> Node:
    for node in NODES:
        if node.name == name:
            return node
    raise ClusterError(f"no node is called {name!r}; there are {', '.join(n.name for n in NODES)}")


def cache_folder() -> Path:
    """What survives ``down``: binaries, the base image, layers, the nodes' images."""
    base = os.environ.get("WEFT_CACHE") or str(Path.home() / ".cache" / "weft")
    return Path(base).expanduser().resolve() / "cluster"


def state_folder() -> Path:
    """What ``down`` removes (but for the logs): keys, pids, sockets, the cluster's data."""
    named = os.environ.get("WEFT_CLUSTER_STATE")
    state = Path(named).expanduser().resolve() if named else cache_folder() / "run"
    if len(str(state)) > MAX_STATE_PATH:
        raise ClusterError(
            f"the state folder's path is too long for unix sockets ({len(str(state))} characters, "
            f"at most {MAX_STATE_PATH}): {state}; set WEFT_CLUSTER_STATE to a shorter one"
        )
    return state


def logs_folder() -> Path:
    return state_folder() / "logs"


def keys_folder() -> Path:
    return state_folder() / "keys"


def config_folder() -> Path:
    return state_folder() / "config"


def node_folder(node: Node) -> Path:
    """The node's kubelet folder, sockets and mounts."""
    return state_folder() / node.name


def image_store(node: Node) -> Path:
    """containerd's root: kept by ``down``, since importing an image with Ray takes a minute."""
    return cache_folder() / "nodes" / node.name


def containerd_socket(node: Node) -> Path:
    return node_folder(node) / "containerd.sock"


def admin_kubeconfig() -> Path:
    return state_folder() / "kubeconfig"


def pods_may_leave() -> bool:
    """Whether pods may open connections beyond the bridge.

    Off by default: a test that needs the outside passes on one machine only, and a load that
    misses its target must not reach anybody else's.
    """
    return os.environ.get("WEFT_CLUSTER_EGRESS", "") not in ("", "0")
