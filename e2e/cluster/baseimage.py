"""A base image from Debian packages: what stands in for ``python:3.11-slim``.

For places that reach no image registry. Debian 12's python3 (3.11) with venv, and nothing more;
use ``python3 -m venv`` in a Dockerfile, which works on both. No compiler, no pip of its own.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from . import buildah, mounts
from .say import step
from .settings import cache_folder, logs_folder
from .shell import run

_SUITE = "bookworm"
_PACKAGES = ("python3", "python3-venv", "ca-certificates")
_DROP = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man",
         "usr/share/locale", "usr/share/info")  # fmt: skip
_DOCKERFILE = 'FROM scratch\nADD rootfs.tar /\nENV LANG=C.UTF-8\nCMD ["python3"]\n'


def name() -> str:
    recipe = repr((_SUITE, _PACKAGES, _DROP, _DOCKERFILE)).encode()
    return f"localhost/weft-base:{_SUITE}-{hashlib.sha256(recipe).hexdigest()[:12]}"


def ensure() -> str:
    """Make the base image unless it is there; returns its name for ``--build-arg BASE=``."""
    if buildah.has(name()):
        return name()
    work = cache_folder() / "base-image"
    mounts.delete(work)
    work.mkdir(parents=True)
    rootfs = work / "context" / "rootfs"
    log = logs_folder() / "debootstrap.log"
    with step(f"making the base image from Debian packages (once, about 80 s; log: {log})"):
        run(
            ["nice", "-n", "19", "debootstrap", "--variant=minbase",
             f"--include={','.join(_PACKAGES)}", _SUITE, rootfs, _mirror()],
            seconds=900, log=log,
        )  # fmt: skip
        _slim(rootfs)
        # Device nodes and the like are the container runtime's to make.
        left_out = [f"--exclude=./{folder}/*" for folder in ("dev", "proc", "sys", "run", "tmp")]
        archive = rootfs.with_suffix(".tar")
        run(["tar", "--numeric-owner", *left_out, "-C", rootfs, "-cf", archive, "."], seconds=300)
        mounts.delete(rootfs)
        (rootfs.parent / "Dockerfile").write_text(_DOCKERFILE)
        buildah.build(rootfs.parent / "Dockerfile", rootfs.parent, name(), log=log)
    mounts.delete(work)
    return name()


def _slim(rootfs: Path) -> None:
    for folder in _DROP:
        for entry in (rootfs / folder).iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    (rootfs / "usr/local/bin/python").symlink_to("/usr/bin/python3")


def _mirror() -> str:
    """Where this machine's apt gets the suite from."""
    targets = run(["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)"])
    for line in targets.splitlines():
        codename, _, site = line.partition(" ")
        if codename == _SUITE and site.startswith(("http://", "https://")):
            return site
    return "http://deb.debian.org/debian"
