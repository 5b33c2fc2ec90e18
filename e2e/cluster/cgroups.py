"""A control group per node: it bounds the node's pods and tells which processes are theirs.

Both versions of the kernel's interface are served: v1 has one hierarchy per controller (each must
be prepared), v2 has one for all.
"""

from __future__ import annotations

import time
from pathlib import Path

from .processes import kill_all
from .settings import Node

_ROOT = Path("/sys/fs/cgroup")


def _unified() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    if _unified():
        return [_ROOT]
    return [path for path in sorted(_ROOT.iterdir()) if (path / "cgroup.procs").exists()]


def _folders(node: Node) -> list[Path]:
    return [path / node.name for path in _hierarchies() if (path / node.name).is_dir()]


def make(node: Node) -> None:
    for hierarchy in _hierarchies():
        folder = hierarchy / node.name
        folder.mkdir(exist_ok=True)
        for name in ("cpuset.mems", "cpuset.cpus"):
            # A v1 cpuset is born empty, and no process may enter an empty one.
            if not _unified() and (folder / name).exists():
                (folder / name).write_text((hierarchy / name).read_text())
    if _unified():
        controllers = (_ROOT / "cgroup.controllers").read_text().split()
        wanted = [c for c in ("cpu", "cpuset", "memory", "pids", "io") if c in controllers]
        for folder in (_ROOT, _ROOT / node.name):
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in wanted))


def processes(node: Node) -> list[int]:
    """All processes of the node's pods."""
    found: set[int] = set()
    for folder in _folders(node):
        for file in [folder / "cgroup.procs", *folder.rglob("cgroup.procs")]:
            try:
                found.update(int(pid) for pid in file.read_text().split())
            except (FileNotFoundError, OSError):
                continue  # the group went away while it was read
    return sorted(found)


def empty(node: Node, seconds: float = 10.0) -> None:
    """Kill the node's pods. Again and again: a process may fork between look and kill."""
    deadline = time.monotonic() + seconds
    while (pids := processes(node)) and time.monotonic() < deadline:
        kill_all(pids)
        time.sleep(0.05)


def remove(node: Node) -> None:
    for folder in _folders(node):
        deepest_first = sorted(folder.rglob("*"), key=lambda path: -len(path.parts))
        for path in [p for p in deepest_first if p.is_dir()] + [folder]:
            _remove_one(path)


def _remove_one(path: Path) -> None:
    """A group whose last process just died may be busy for a moment."""
    for _ in range(20):
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
