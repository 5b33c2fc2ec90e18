"""The cluster as processes of this machine: bring up, take down, look at."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from . import (
    builds,
    cgroups,
    controlplane,
    kuberay,
    locks,
    mounts,
    network,
    nodes,
    owner,
    packages,
    processes,
    tinyimages,
)
from .kubectl import api_ready, node_ready
from .say import say, step
from .settings import (
    NODES,
    ClusterError,
    admin_kubeconfig,
    cache_folder,
    image_store,
    logs_folder,
    node_folder,
    state_folder,
)
from .shell import tail


def alone() -> AbstractContextManager[None]:
    """One command at a time changes the cluster; another waits for it."""
    return locks.held(owner.LOCK, "is at work on the cluster")


def daemons() -> list[str]:
    """All processes of a whole cluster, in the order in which they start."""
    of_nodes = [f(node) for node in NODES for f in (nodes.containerd_name, nodes.kubelet_name)]
    return [*controlplane.NAMES, *of_nodes, kuberay.NAME]


def healthy() -> bool:
    """All daemons run, the API server answers and the nodes are Ready."""
    if not all(processes.runs(name) for name in daemons()):
        return False
    return api_ready() and all(node_ready(node.name) for node in NODES)


def up() -> None:
    """Make what is missing. Objects survive while API server and etcd do; else all is new."""
    _need_root()
    owner.refuse_other()
    if healthy() and owner.made_by_this_code():
        return
    keep = processes.runs("etcd") and processes.runs("kube-apiserver")
    if keep and not owner.made_by_this_code():
        say("the cluster was made by other code or settings than these; it is made anew")
        keep = False
    if not keep:
        _clean()
        # Of the cluster before; `down` keeps them for reading.
        shutil.rmtree(logs_folder(), ignore_errors=True)
    for folder in (state_folder(), logs_folder()):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    packages.ensure(packages.FOR_NODES)
    for name in builds.FOR_UP:
        builds.build(name)
    builds.link_tools(state_folder() / "bin")
    tinyimages.make()
    owner.claim()
    network.make()
    with step("starting the control plane"):
        controlplane.start()
    with step("starting the nodes and KubeRay"), ThreadPoolExecutor() as pool:
        jobs = [pool.submit(nodes.start, node) for node in NODES]
        jobs.append(pool.submit(kuberay.start))
        for job in jobs:
            job.result()
        for job in [pool.submit(nodes.wait_ready, node) for node in NODES]:
            job.result()
    controlplane.wait_for_dns()
    kuberay.wait_ready()
    for name in daemons():
        if not processes.runs(name):
            log = processes.log_of(name)
            raise ClusterError(f"{name} has ended again; last lines of {log}:\n{tail(log)}")


def down(*, purge: bool = False) -> None:
    """Leave no process, mount, control group or bridge. Images and binaries stay cached."""
    _need_root()
    owner.refuse_other()
    with step("taking the cluster down"):
        _clean()
        owner.release()
    if purge:
        for node in NODES:
            mounts.delete(image_store(node))
        shutil.rmtree(cache_folder() / "nodes", ignore_errors=True)


def _need_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError("nodes, mounts and the bridge need root; or use kind or a kubeconfig")


def _clean() -> None:
    """Remove what this or an earlier cluster left, whether it ended well or was killed."""
    processes.stop(kuberay.NAME)
    for node in NODES:
        nodes.stop(node)
        cgroups.remove(node)
    controlplane.stop()
    for name in processes.recorded():
        processes.stop(name)
    network.remove()
    _clean_container_log_links()
    for node in NODES:
        mounts.delete(node_folder(node))
    if not state_folder().exists():
        return
    for entry in state_folder().iterdir():
        if entry == logs_folder():
            continue
        if entry.is_dir() and not entry.is_symlink():
            mounts.delete(entry)
        else:
            entry.unlink()


def _clean_container_log_links() -> None:
    """The kubelet always links its logs from here, whatever its folders are."""
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and Path(os.readlink(link)).is_relative_to(state_folder()):
            link.unlink(missing_ok=True)


def exports() -> str:
    """What a person's shell needs to use the cluster."""
    lines = [
        f"export KUBECONFIG={admin_kubeconfig()}",
        f"export PATH={state_folder() / 'bin'}:$PATH",
    ]
    return "\n".join(lines)
