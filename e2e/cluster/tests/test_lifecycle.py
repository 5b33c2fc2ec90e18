"""Nodes die and come back; everything is killed and ``up`` works; ``down`` leaves nothing."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from e2e.cluster import cgroups, local, mounts, network, processes, report, settings
from e2e.cluster.tests import tools
from e2e.cluster.tests.tools import command, kubectl, pod, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_GPU = settings.node_named("weft-gpu")
_NAMESPACE = "default"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> None:
    command("up")


def _node_ready() -> bool:
    conditions = tools.get(None, f"node/{_GPU.name}")["status"]["conditions"]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def test_a_second_up_changes_nothing() -> None:
    before = {name: processes.identity(name) for name in local.daemons()}
    command("up")
    assert {name: processes.identity(name) for name in local.daemons()} == before
    assert None not in before.values()


def test_a_node_that_loses_power_is_noticed_and_comes_back_with_its_gpus() -> None:
    tools.apply(_NAMESPACE, pod("survivor", gpus=1))
    tools.wait_ready(_NAMESPACE, "pod/survivor")
    command("node", "stop", _GPU.name)
    assert cgroups.processes(_GPU) == []
    until("the node is NotReady", lambda: not _node_ready(), seconds=90)

    command("node", "start", _GPU.name)
    assert _node_ready()
    tools.apply(_NAMESPACE, pod("newcomer", gpus=1))
    tools.wait_ready(_NAMESPACE, "pod/newcomer")
    kubectl("delete", "pod", "survivor", "newcomer", "--force", "--grace-period=0")


def test_pods_live_on_when_only_kubelet_and_runtime_die() -> None:
    tools.apply(_NAMESPACE, pod("unattended", {"weft.dev/node": "gpu"}, serve="still here"))
    tools.wait_ready(_NAMESPACE, "pod/unattended")
    before = tools.get(_NAMESPACE, "pod/unattended")["status"]
    command("node", "stop", _GPU.name, "--keep-pods")
    address = before["podIP"]
    answer = subprocess.run(
        ["curl", "-sS", "-m", "5", "--noproxy", "*", f"http://{address}:8080/"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.strip() == "still here"

    command("node", "start", _GPU.name)
    until(
        "exec works again",
        lambda: "ok" in tools.try_execute(_NAMESPACE, "unattended", "echo", "ok"),
    )
    after = tools.get(_NAMESPACE, "pod/unattended")["status"]
    assert (
        after["containerStatuses"][0]["containerID"]
        == before["containerStatuses"][0]["containerID"]
    )
    kubectl("delete", "pod", "unattended", "--force", "--grace-period=0")


def test_up_starts_what_died_and_leaves_the_rest_alone() -> None:
    tools.apply(_NAMESPACE, pod("bystander", {"weft.dev/node": "gpu"}))
    tools.wait_ready(_NAMESPACE, "pod/bystander")
    victims = ["kube-scheduler", "coredns", "kuberay-operator", "weft-cpu-kubelet"]
    others = [name for name in local.daemons() if name not in victims]
    before = {name: processes.identity(name) for name in others}
    for name in victims:
        processes.stop(name, grace=0)
    command("up")
    assert {name: processes.identity(name) for name in others} == before
    assert all(processes.runs(name) for name in victims)
    assert tools.get(_NAMESPACE, "pod/bystander")["status"]["phase"] == "Running"
    kubectl("delete", "pod", "bystander", "--force", "--grace-period=0")


def test_up_works_after_everything_was_killed() -> None:
    tools.apply(_NAMESPACE, pod("doomed", {"weft.dev/node": "cpu"}))
    tools.wait_ready(_NAMESPACE, "pod/doomed")
    daemons = [processes.identity(name) for name in local.daemons()]
    pids = [known.pid for known in daemons if known]
    for node in settings.NODES:
        pids += mounts.shims(settings.containerd_socket(node)) + cgroups.processes(node)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until("all are dead", lambda: not any(processes.runs(name) for name in local.daemons()))
    assert report.leftovers(), "a crash should have left something to clean"

    command("up")
    assert "doomed" not in kubectl("get", "pods"), "a new cluster starts empty"
    tools.apply(_NAMESPACE, pod("fresh", gpus=8))
    tools.wait_ready(_NAMESPACE, "pod/fresh")


def test_down_leaves_no_process_mount_group_or_bridge() -> None:
    tools.apply(_NAMESPACE, pod("running", {"weft.dev/node": "cpu"}))
    tools.wait_ready(_NAMESPACE, "pod/running")
    daemons = [processes.identity(name) for name in local.daemons()]
    shims = [p for n in settings.NODES for p in mounts.shims(settings.containerd_socket(n))]
    assert shims

    command("down")
    gone = [known.pid for known in daemons if known] + shims
    assert not [pid for pid in gone if _alive(pid)]
    assert report.leftovers() == []
    assert not network.bridge_exists()
    rules = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    assert settings.NFT_TABLE not in rules.stdout
    assert "kube-proxy" not in rules.stdout
    assert not list(Path("/sys/fs/cgroup").glob("*/weft-*"))
    links = subprocess.run(["ip", "link"], capture_output=True, text=True, check=True)
    assert "veth" not in links.stdout
    assert [p.name for p in settings.state_folder().iterdir()] == ["logs"]
    command("up")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
