"""What can be checked without a cluster: files, identities, archives, and that pins are whole."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e.cluster import archive, builds, images, mounts, network, processes, settings, shell


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    short = Path("/tmp") / f"weft-test-{os.getpid()}"
    monkeypatch.setenv("WEFT_CLUSTER_STATE", str(short))
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path))
    yield short
    for name in processes.recorded():
        processes.stop(name, grace=0)
    mounts.delete(short)


def test_a_daemon_is_found_again_by_its_pid_file_and_stopped(state: Path) -> None:
    processes.start("sleeper", ["sleep", "1000"])
    known = processes.identity("sleeper")
    assert known is not None
    processes.stop("sleeper")
    assert not processes.runs("sleeper")
    assert processes.recorded() == []


def test_a_pid_that_somebody_else_has_now_is_not_signalled(state: Path) -> None:
    other = subprocess.Popen(["sleep", "1000"])
    file = state / "pids" / "etcd.json"
    file.parent.mkdir(parents=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    file.write_text(json.dumps({"pid": other.pid, "started": "1", "boot": boot}))
    processes.stop("etcd", grace=0)
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_wait_ends_at_once_when_the_process_has_ended_and_names_the_log(state: Path) -> None:
    processes.start("failing", [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"])
    log = processes.log_of("failing")
    with pytest.raises(settings.ClusterError, match=r"ended(.|\n)*failing.log(.|\n)*the reason"):
        shell.wait_until("it answers", lambda: False, seconds=60, log=log,
                         alive=lambda: processes.runs("failing"))  # fmt: skip


def test_a_folder_with_a_mount_is_emptied_only_after_unmounting(state: Path) -> None:
    kept, point = state / "kept", state / "run" / "volume"
    kept.mkdir(parents=True)
    point.mkdir(parents=True)
    (kept / "data").write_text("of the person's own")
    if not shell.succeeds(["mount", "--bind", kept, point]):
        pytest.fail("this test mounts a folder and needs root")
    assert mounts.below(state / "run") == [point]
    mounts.delete(state / "run")
    assert mounts.below(state) == []
    assert (kept / "data").read_text() == "of the person's own"


def test_a_state_folder_too_deep_for_sockets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_CLUSTER_STATE", "/tmp/" + "x" * 100)
    with pytest.raises(settings.ClusterError, match="WEFT_CLUSTER_STATE"):
        settings.state_folder()


def test_an_image_archive_is_the_same_each_time_and_names_its_blobs_truly(tmp_path: Path) -> None:
    made = []
    for number in range(2):
        target = tmp_path / f"{number}.tar"
        archive.write_image(target, "weft.dev/x:1", {"a/b": b"text"}, {"a/c": "b"}, ["/a/b"])
        made.append(target.read_bytes())
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "0.tar") as tar:
        for member in tar.getmembers():
            if member.isfile() and member.name.startswith("blobs/sha256/"):
                content = tar.extractfile(member)
                assert content is not None
                digest = hashlib.sha256(content.read()).hexdigest()
                assert digest == member.name.rpartition("/")[2]


@pytest.mark.parametrize("tag", ["agents", "agents:dev", "weft/agents:dev", "weft.dev/agents"])
def test_a_tag_that_the_kubelet_would_not_find_is_refused(tag: str) -> None:
    order = images.Order(tag, Path("/nonexistent"), Path("/"))
    with pytest.raises(settings.ClusterError, match="in full"):
        images.build(order)


@pytest.mark.parametrize("name", sorted(builds.COMPONENTS))
def test_each_component_is_pinned_and_its_pins_are_small(name: str) -> None:
    component = builds.component(name)
    for file in ("go.mod", "go.sum"):
        assert 0 < (component.folder / file).stat().st_size < 1_000_000
    assert (
        (component.folder / "go.mod")
        .read_text()
        .startswith(f"module weft.dev/e2e/cluster/{component.folder.name}\n")
    )
    assert len(builds.key(component)) == 16


def test_the_key_changes_with_the_flags() -> None:
    one = builds.component("coredns")
    assert builds.key(one) != builds.key(builds.Component(one.name, one.programs, ldflags="-X a=b"))


def test_a_build_ends_with_who_has_started_it(tmp_path: Path) -> None:
    """Those of tests that were given up went on, ten beside each other."""
    go, pid = tmp_path / "go", tmp_path / "pid"
    go.write_text(f"#!/bin/sh\necho $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 1000\n")
    go.chmod(0o755)
    env = {**os.environ, "WEFT_CACHE": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    asked = subprocess.Popen([sys.executable, "-m", "e2e.cluster", "build", "helm"], env=env)
    _eventually(pid.exists)
    asked.kill()
    asked.wait()
    _eventually(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


def _eventually(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_pods_stay_on_the_bridge_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEFT_CLUSTER_EGRESS", raising=False)
    assert "reject" in network.rules()
    monkeypatch.setenv("WEFT_CLUSTER_EGRESS", "1")
    assert "reject" not in network.rules()
    assert "masquerade" in network.rules()
