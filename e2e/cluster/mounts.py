"""What containers leave behind when their daemons die: mounts, and shims that nobody minds.

A folder with a live mount below must never be deleted: a volume of a pod may be a folder of the
person's own, and deleting would go through the mount into it.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from .processes import kill_all
from .settings import ClusterError
from .shell import succeeds


def below(folder: Path) -> list[Path]:
    """Mount points in the folder, the innermost and latest first."""
    found: list[Path] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # The kernel writes blank, tab, newline and backslash as octal escapes.
        point = Path(line.split(" ")[4].encode().decode("unicode_escape"))
        if point.is_relative_to(folder):
            found.append(point)
    return found[::-1]


def unmount_below(folder: Path) -> None:
    for _ in range(3):  # mounts can lie on each other
        for point in below(folder):
            if not succeeds(["umount", str(point)]):
                succeeds(["umount", "--lazy", str(point)])


def delete(folder: Path) -> None:
    """Delete a folder that holds no mount any more, and refuse it otherwise."""
    unmount_below(folder)
    left = below(folder)
    if left:
        shown = ", ".join(str(point) for point in left[:5])
        raise ClusterError(f"still mounted, so nothing was deleted: {shown}")
    shutil.rmtree(folder, ignore_errors=True)


def shims(socket: Path) -> list[int]:
    """The shims that serve this containerd: its socket is among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"containerd-shim" in words[0] and str(socket).encode() in words:
            found.append(int(entry.name))
    return found


def kill_shims(socket: Path, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while (pids := shims(socket)) and time.monotonic() < deadline:
        kill_all(pids)
        time.sleep(0.05)
