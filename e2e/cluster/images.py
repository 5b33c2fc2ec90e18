"""The image path: Dockerfile target -> buildah -> OCI layout -> the nodes' containerds.

Only layers that a node lacks are sent to it: a change of the project's code alone moves its last,
small layer, not the gigabyte of Ray below it.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import baseimage, buildah, locks, nodes, packages
from .archive import add_bytes, descriptor
from .say import say, step
from .settings import (
    CONTAINERD_NAMESPACE,
    NODES,
    ClusterError,
    Node,
    cache_folder,
    containerd_socket,
    logs_folder,
)
from .shell import run, tail, write

_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# pip settings that a build needs to reach what the machine reaches.
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout", "timeout")


@dataclass(frozen=True)
class Order:
    """What to build: the tag is a full reference, or the kubelet would not find it."""

    tag: str
    dockerfile: Path
    context: Path
    target: str = ""


def build(order: Order) -> str:
    """Build and return the manifest's digest."""
    if "/" not in order.tag or "." not in order.tag.split("/")[0] or ":" not in order.tag:
        raise ClusterError(f"give the tag in full, as in weft.dev/agents:dev, not {order.tag!r}")
    if not order.dockerfile.exists():
        raise ClusterError(f"there is no {order.dockerfile}")
    with locks.held(cache_folder() / "base-image.lock", "makes the base image"):
        packages.ensure(packages.FOR_IMAGES)
        base = baseimage.ensure()
    log = _log(order)
    log.unlink(missing_ok=True)
    with step(f"building {order.tag} (log: {log})"):
        buildah.build(
            order.dockerfile, order.context, order.tag, target=order.target,
            args={"BASE": base}, mounts=_machine_settings(), log=log,
        )  # fmt: skip
        # An old index would be added to, not replaced; the blobs stay and are used again.
        (_layout(order.tag) / "index.json").unlink(missing_ok=True)
        buildah.push(order.tag, _layout(order.tag), "image", log=log)
        prune(_layout(order.tag))
    return _manifest_digest(_layout(order.tag))


def _log(order: Order) -> Path:
    return logs_folder() / f"image-{_file_name(order.tag)}.log"


def _file_name(tag: str) -> str:
    return tag.replace("/", "_").replace(":", "_")


def _layout(tag: str) -> Path:
    """An OCI layout per tag: each keeps what the next push of the same tag can use again."""
    return cache_folder() / "images" / _file_name(tag)


def _machine_settings() -> dict[Path, str]:
    """The CA bundle and pip's settings, for the time of the build only.

    They name this machine's ways to the registries; in an image they would be wrong anywhere else.
    """
    lines = ["[global]"]
    for line in run(["python3", "-m", "pip", "config", "list"]).splitlines():
        key, _, value = line.partition("=")
        setting = key.rpartition(".")[2]
        if setting in _PIP_KEYS:
            lines.append(f"{setting} = {value.strip(chr(39))}")
    found = {}
    if _CA_BUNDLE.exists():
        lines.append(f"cert = {_CA_BUNDLE}")
        found[_CA_BUNDLE] = str(_CA_BUNDLE)
    settings = cache_folder() / "buildah" / "pip.conf"
    write(settings, "\n".join(lines) + "\n")
    found[settings] = "/etc/pip.conf"
    return found


def _manifest_digest(layout: Path) -> str:
    index = json.loads((layout / "index.json").read_text())
    digest: str = index["manifests"][-1]["digest"]
    return digest


def load(tag: str, only: tuple[Node, ...] = NODES) -> None:
    """Give the image to the nodes that do not have it yet, all at once."""
    with ThreadPoolExecutor() as pool:
        for job in [pool.submit(_load_one, tag, node) for node in only]:
            job.result()


def _load_one(tag: str, node: Node) -> None:
    layout = _layout(tag)
    digest = _manifest_digest(layout)
    if _digest_on(node, tag) == digest:
        say(f"{node.name} has {tag} already")
        return
    present = set(nodes.ctr(node, "content", "list", "-q").split())
    blobs = [d for d in _blobs(layout, digest) if d["digest"] not in present]
    megabytes = sum(d["size"] for d in blobs) // 1_000_000
    with step(f"importing {tag} to {node.name} ({len(blobs)} blobs, {megabytes} MB)"):
        _import(node, tag, layout, digest, [str(d["digest"]) for d in blobs])
    if _digest_on(node, tag) != digest:
        raise ClusterError(f"imported, yet {node.name} does not have {tag} at {digest}")


def _digest_on(node: Node, tag: str) -> str:
    for line in nodes.ctr(node, "images", "list", f"name=={tag}").splitlines()[1:]:
        return line.split()[2]
    return ""


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


def _blobs(layout: Path, digest: str) -> list[dict[str, Any]]:
    content = _blob(layout, digest).read_bytes()
    manifest = json.loads(content)
    return [descriptor(content, _MANIFEST), manifest["config"], *manifest["layers"]]


def _import(node: Node, tag: str, layout: Path, digest: str, blobs: list[str]) -> None:
    """Stream an archive that lacks what the node has: containerd finds that in its store."""
    entry = descriptor(_blob(layout, digest).read_bytes(), _MANIFEST)
    entry["annotations"] = {"io.containerd.image.name": tag}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    log = logs_folder() / f"import-{node.name}.log"
    command = ["ctr", "--address", str(containerd_socket(node)), "-n", CONTAINERD_NAMESPACE,
               "images", "import", "-"]  # fmt: skip
    with (
        log.open("w") as out,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT
        ) as process,
    ):
        assert process.stdin is not None
        try:
            with tarfile.open(fileobj=process.stdin, mode="w|") as tar:
                add_bytes(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
                add_bytes(tar, "index.json", index)
                for blob in blobs:
                    tar.add(_blob(layout, blob), f"blobs/{blob.replace(':', '/')}")
            process.stdin.close()
            code = process.wait(timeout=900)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            process.kill()
            code = -1
    if code != 0:
        raise ClusterError(f"importing {tag} to {node.name} failed ({code}); {log}:\n{tail(log)}")


def prune(layout: Path) -> None:
    """Drop what earlier builds of the tag left in its layout."""
    digest = _manifest_digest(layout)
    kept = {str(d["digest"]).removeprefix("sha256:") for d in _blobs(layout, digest)}
    for blob in (layout / "blobs" / "sha256").iterdir():
        if blob.name not in kept:
            blob.unlink()
