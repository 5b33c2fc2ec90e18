"""A node: its own containerd and its own kubelet, side by side with the other nodes'.

Each has its own folders, sockets, address and control group; network and kernel are shared.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from . import builds, cgroups, gpus, mounts, network, processes, tinyimages
from .certificates import certificate, kubeconfig, private_key
from .kubectl import node_ready
from .settings import (
    CLUSTER_DOMAIN,
    CONTAINERD_NAMESPACE,
    HOST_ADDRESS,
    Node,
    config_folder,
    containerd_socket,
    image_store,
    node_folder,
)
from .shell import Words, run, succeeds, wait_until, write


def kubelet_name(node: Node) -> str:
    return f"{node.name}-kubelet"


def containerd_name(node: Node) -> str:
    return f"{node.name}-containerd"


def ctr(node: Node, *words: str | Path, seconds: float = 60) -> str:
    """containerd's own client, in the namespace in which the kubelet's containers live."""
    command: Words = ["ctr", "--address", containerd_socket(node), "-n", CONTAINERD_NAMESPACE]
    return run([*command, *words], seconds=seconds)


def running(node: Node) -> bool:
    return processes.runs(kubelet_name(node)) and processes.runs(containerd_name(node))


def start(node: Node) -> None:
    """Start the node. Pods that still run (`stop` with keep_pods) are taken over."""
    if running(node):
        return
    if not processes.runs(containerd_name(node)):
        _start_containerd(node)
    tinyimages.load(node.name, lambda *words: ctr(node, *words))
    _start_kubelet(node)


def load_archive(node: Node, tag: str, archive: Path) -> None:
    """Give the running node an image of a few files."""
    tinyimages.load_archives(node.name, lambda *words: ctr(node, *words), {tag: archive})


def _start_containerd(node: Node) -> None:
    fresh = not cgroups.processes(node)
    cri = image_store(node) / "io.containerd.grpc.v1.cri"
    if fresh:
        for folder in (cri / "sandboxes", cri / "containers"):
            shutil.rmtree(folder, ignore_errors=True)
    cgroups.make(node)
    _run_containerd(node)
    if fresh and _forget_containers(node):
        # The CRI plug-in read the dead containers when it started, and still believes in them.
        processes.stop(containerd_name(node))
        _run_containerd(node)


def _run_containerd(node: Node) -> None:
    config = config_folder() / f"{node.name}-containerd.toml"
    write(config, _containerd_config(node))
    node_folder(node).mkdir(parents=True, exist_ok=True)
    name = containerd_name(node)
    processes.start(name, ["containerd", "--config", config])
    probe: Words = ["ctr", "--address", containerd_socket(node), "version"]
    wait_until(
        f"containerd of {node.name} answers",
        lambda: succeeds(probe, seconds=5),
        seconds=60,
        log=processes.log_of(name),
        alive=lambda: processes.runs(name),
    )


def _forget_containers(node: Node) -> bool:
    """Drop what containerd remembers of containers whose processes are gone; keep its images."""
    known = ctr(node, "containers", "list", "-q").split()
    for name in known:
        succeeds(["ctr", "--address", containerd_socket(node), "-n", CONTAINERD_NAMESPACE,
                  "containers", "delete", name])  # fmt: skip
    return bool(known)


def _containerd_config(node: Node) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""\
version = 2
root = "{image_store(node)}"
state = "{node_folder(node)}/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "{containerd_socket(node)}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{image_store(node)}/opt"

[{cri}]
  sandbox_image = "{tinyimages.PAUSE}"
  # Without CAP_SYS_RESOURCE no score may be lowered, and runc would fail on every sandbox with
  # "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"

[{cri}.cni]
  bin_dir = "{network.CNI_BIN}"
  conf_dir = "{network.cni_config_folder()}"
  max_conf_num = 1

[{cri}.containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"

[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
  SystemdCgroup = false
"""


def _start_kubelet(node: Node) -> None:
    folder = node_folder(node)
    config = config_folder() / f"{node.name}-kubelet.json"
    write(config, json.dumps(_kubelet_config(node), indent=2))
    processes.start(
        kubelet_name(node),
        [
            builds.program("kubernetes", "kubelet"),
            f"--config={config}",
            f"--kubeconfig={kubeconfig(node.name)}",
            f"--root-dir={folder / 'kubelet'}",
            f"--cert-dir={folder / 'kubelet-pki'}",
            f"--hostname-override={node.name}",
            f"--node-ip={node.address}",
            f"--node-labels=weft.dev/node={'gpu' if node.gpus else 'cpu'}",
        ],
    )


def _kubelet_config(node: Node) -> dict[str, object]:
    resolve = config_folder() / "resolv.conf"
    # The machine's search domains would be asked for by every pod, and tell where it stands.
    write(resolve, f"nameserver {HOST_ADDRESS}\n")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "port": 10250,
        # Two kubelets share the machine's loopback; the API server's own probe is not needed.
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(certificate("ca"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificate(node.name)),
        "tlsPrivateKeyFile": str(private_key(node.name)),
        "clusterDNS": [HOST_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(resolve),
        "containerRuntimeEndpoint": f"unix://{containerd_socket(node)}",
        "podLogsDir": str(node_folder(node) / "pod-logs"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "makeIPTablesUtilChains": False,
        "volumePluginDir": str(node_folder(node) / "volume-plugins"),
        # Imported images cannot be pulled again, so the kubelet must never collect them, however
        # full the disk is; nor should a full disk of the person's make the cluster evict pods.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "nodeStatusUpdateFrequency": "5s",
        "maxPods": 250,
        "serializeImagePulls": False,
    }


def wait_ready(node: Node) -> None:
    wait_until(
        f"node {node.name} is Ready",
        lambda: node_ready(node.name),
        seconds=120,
        log=processes.log_of(kubelet_name(node)),
        alive=lambda: running(node),
        pause=0.5,
    )
    gpus.restore(node)


def stop(node: Node, *, keep_pods: bool = False, at_once: bool = True) -> None:
    """End the node's daemons, as a power cut does when ``at_once``.

    With ``keep_pods`` the containers live on unattended, as when only kubelet and runtime hang.
    """
    grace = 0.0 if at_once else 10.0
    processes.stop(kubelet_name(node), grace=grace)
    processes.stop(containerd_name(node), grace=grace)
    if keep_pods:
        return
    cgroups.empty(node)
    mounts.kill_shims(containerd_socket(node))
    cgroups.empty(node)
    mounts.unmount_below(node_folder(node))
    mounts.unmount_below(image_store(node))
