"""GPUs that are only pretended, given to a node and taken away again.

The node's status says that it has them and its labels describe them as GPU feature discovery
would. The kubelet copies the capacity to what it lets pods have; nothing is behind it.
"""

from __future__ import annotations

import json
from pathlib import Path

from .kubectl import get, kubectl
from .settings import Node, admin_kubeconfig, logs_folder, state_folder
from .shell import wait_until

RESOURCE = "nvidia.com/gpu"
PRODUCT = "NVIDIA-H100-80GB-HBM3"
MEMORY = 81559


def _record(node_name: str) -> Path:
    """What the node should have; a kubelet that starts anew resets it to none."""
    return state_folder() / f"gpus-{node_name}.json"


def give(node_name: str, count: int, product: str = PRODUCT, memory: int = MEMORY) -> None:
    """Let the node have ``count`` GPUs; 0 takes them and their labels away."""
    if admin_kubeconfig().exists():
        _record(node_name).write_text(json.dumps([count, product, memory]))
    labels = {f"{RESOURCE}.product": product, f"{RESOURCE}.memory": str(memory)}
    labels[f"{RESOURCE}.count"] = str(count)
    words = [f"{key}={value}" if count else f"{key}-" for key, value in labels.items()]
    kubectl("label", "node", node_name, "--overwrite", *words)
    # A strategic merge: the keys beside ours stay, and null removes ours.
    capacity = {RESOURCE: str(count) if count else None}
    status = {"capacity": capacity, "allocatable": capacity}
    kubectl(
        "patch", "node", node_name, "--subresource=status", "--type=strategic",
        f"--patch={json.dumps({'status': status})}",
    )  # fmt: skip
    wait_until(
        f"node {node_name} offers {count} GPUs",
        lambda: offered(node_name) == count,
        seconds=60,
        log=logs_folder() / f"{node_name}-kubelet.log",
    )


def offered(node_name: str) -> int:
    allocatable = get("node", node_name).get("status", {}).get("allocatable", {})
    return int(allocatable.get(RESOURCE, "0"))


def restore(node: Node) -> None:
    """After a node's start: what was last given, or what the node has by its definition."""
    record = _record(node.name)
    if record.exists():
        count, product, memory = json.loads(record.read_text())
        give(node.name, count, product, memory)
    elif node.gpus:
        give(node.name, node.gpus)
