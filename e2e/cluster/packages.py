"""Debian packages that the cluster's machine needs, installed when missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import locks
from .say import say, step
from .settings import ClusterError, cache_folder, logs_folder
from .shell import run

# Package -> a file that it brings. A file is looked for, not the package data base: on a machine
# that has the program from elsewhere nothing is installed.
FOR_API_SERVER = {"etcd-server": "etcd", "openssl": "openssl"}
FOR_NODES = {
    **FOR_API_SERVER,
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "nftables": "nft",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "iproute2": "ip",
    "gcc": "gcc",
    "libc6-dev": "/usr/include/stdio.h",
    "busybox": "/bin/busybox",
    "mount": "umount",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}
FOR_IMAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}

_POLICY = Path("/usr/sbin/policy-rc.d")


def ensure(wanted: Mapping[str, str]) -> None:
    if not _missing(wanted):
        return
    with locks.held(cache_folder() / ".packages.lock", "installs Debian packages"):
        _install(_missing(wanted))
    if still := _missing(wanted):
        log = logs_folder() / "apt.log"
        raise ClusterError(f"installed, yet not to be found: {', '.join(still)}; see {log}")


def _missing(wanted: Mapping[str, str]) -> list[str]:
    return [package for package, brings in wanted.items() if not _there(brings)]


def _install(missing: list[str]) -> None:
    if not missing:
        return  # Another process has done it meanwhile.
    if shutil.which("apt-get") is None:
        raise ClusterError(f"please install what Debian calls {' '.join(missing)}")
    if os.geteuid() != 0:
        raise ClusterError(f"please install as root: apt-get install {' '.join(missing)}")
    log = logs_folder() / "apt.log"
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"installing Debian packages: {' '.join(missing)}"):
        run(["apt-get", "update"], env=env, seconds=300, log=log)
        with _no_services():
            install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
            run(install, env=env, seconds=900, log=log)


def _there(brings: str) -> bool:
    if brings.startswith("/"):
        return Path(brings).exists()
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return shutil.which(brings, path=path) is not None


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep postinst scripts from starting etcd and containerd: ours have their own settings."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
        say("  packages are in; no service was started")
