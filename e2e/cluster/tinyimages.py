"""Images of a few files: ``pause`` for every pod, ``busybox`` for checks, our Go programs.

They are made here from these files, so that ``up`` needs no registry and no image builder.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from . import builds
from .archive import write_image
from .settings import HERE, cache_folder
from .shell import run

PAUSE = "weft.dev/e2e/pause:1"
BUSYBOX = "weft.dev/e2e/busybox:1"
_PASSWD = b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"


def make() -> None:
    """Make both archives; before the nodes start at once and would make them twice."""
    _pause()
    _busybox()


def load(node: str, ctr: Callable[..., str]) -> None:
    """Give the node what its own pods need."""
    load_archives(node, ctr, {PAUSE: _pause(), BUSYBOX: _busybox()})


def load_archives(node: str, ctr: Callable[..., str], archives: dict[str, Path]) -> None:
    """Import what the node lacks; whether it has the same content tells the file's name."""
    present = set(ctr("images", "list", "-q").split())
    for name, archive in archives.items():
        marker = cache_folder() / "nodes" / f"{node}-{archive.stem}.imported"
        if name in present and marker.exists():
            continue
        ctr("images", "import", archive)
        marker.touch()


def of_program(component: str) -> tuple[str, Path]:
    """An image of a component's one program, which needs nothing beside it: (tag, archive)."""
    folder = builds.build(component)
    program = next(path for path in folder.iterdir() if path.is_file())
    tag = f"weft.dev/e2e/{component}:1"
    target = _archive(component, str(folder).encode())
    if not target.exists():
        files = {program.name: program.read_bytes(), "tmp/.keep": b"", "etc/passwd": _PASSWD}
        write_image(target, tag, files, {}, [f"/{program.name}"])
    return tag, target


def _pause() -> Path:
    source = HERE / "pause.c"
    target = _archive("pause", source.read_bytes())
    if not target.exists():
        program = target.with_suffix(".bin")
        run(["gcc", "-static", "-Os", "-s", "-o", program, source])
        write_image(target, PAUSE, {"pause": program.read_bytes()}, {}, ["/pause"])
        program.unlink()
    return target


def _busybox() -> Path:
    """KubeRay's generated commands call ``ray`` and ``bash``; with stand-ins for these its pods
    run. No Ray does, but one sees that KubeRay reconciles.
    """
    program = Path(shutil.which("busybox") or "/bin/busybox")
    # Debian's is linked dynamically. (Beware of its `wget -T`: it crashes.)
    libraries = re.findall(r"(/lib\S+)", run(["ldd", program]))
    target = _archive("busybox", program.read_bytes())
    if not target.exists():
        applets = subprocess.run(
            [program, "--list"], check=True, capture_output=True, text=True
        ).stdout.split()
        links = {f"bin/{applet}": "busybox" for applet in applets if applet != "busybox"}
        files = {
            "bin/busybox": program.read_bytes(),
            "bin/ray": b"#!/bin/sh\nexit 0\n",
            "bin/bash": b'#!/bin/sh\nexec /bin/sh "$@"\n',
            "etc/passwd": _PASSWD,
            "tmp/.keep": b"",
            **{library.lstrip("/"): Path(library).read_bytes() for library in libraries},
        }
        write_image(target, BUSYBOX, files, links, ["/bin/sh"])
    return target


def _archive(name: str, content: bytes) -> Path:
    folder = cache_folder() / "tiny-images"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = (HERE / "archive.py").read_bytes() + Path(__file__).read_bytes()
    return folder / f"{name}-{hashlib.sha256(content + recipe).hexdigest()[:16]}.tar"
