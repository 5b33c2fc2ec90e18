"""What ``status`` tells a person."""

from __future__ import annotations

from . import cgroups, gpus, local, mounts, network, processes
from .kubectl import api_ready, node_ready
from .settings import BRIDGE, NODES, admin_kubeconfig, cache_folder, logs_folder, state_folder


def status() -> str:
    lines = []
    for name in local.daemons():
        known = processes.identity(name)
        lines.append(f"{name:26} {f'pid {known.pid}' if known else 'not running'}")
    if api_ready():
        for node in NODES:
            state = "Ready" if node_ready(node.name) else "NotReady"
            lines.append(f"node {node.name:21} {state}, {gpus.offered(node.name)} GPUs")
        lines.append(f"logs {logs_folder()}")
        lines.append(f"export KUBECONFIG={admin_kubeconfig()}")
    else:
        lines.append("the API server does not answer; e2e/cluster/up makes the cluster")
    if not any(processes.runs(name) for name in local.daemons()):
        lines += leftovers()
    return "\n".join(lines)


def leftovers() -> list[str]:
    """What a cluster that is down must not have; all of it goes with ``down``."""
    found = [f"left over: process {name}" for name in processes.recorded()]
    found += [f"left over: mount {point}" for point in mounts.below(state_folder())]
    found += [f"left over: mount {point}" for point in mounts.below(cache_folder() / "nodes")]
    for node in NODES:
        found += [f"left over: process {pid} of {node.name}" for pid in cgroups.processes(node)]
    if network.bridge_exists():
        found.append(f"left over: bridge {BRIDGE}")
    return found
