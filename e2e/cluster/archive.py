"""One-layer images without an image builder: a layer, a config and a manifest in a tar (OCI)."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

_TYPES = "application/vnd.oci.image"


def write_image(
    target: Path,
    name: str,
    files: dict[str, bytes],
    links: dict[str, str],
    entrypoint: list[str],
) -> None:
    """Write an OCI archive. The same input gives the same bytes, hence the same digests."""
    layer = _tar(files, links, mode=0o755)
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin:/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_TYPES}.manifest.v1+json",
            "config": descriptor(config, f"{_TYPES}.config.v1+json"),
            "layers": [descriptor(layer, f"{_TYPES}.layer.v1.tar")],
        }
    )
    entry = descriptor(manifest, f"{_TYPES}.manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": name}
    index = _json({"schemaVersion": 2, "manifests": [entry]})
    blobs = {f"blobs/{_digest(b).replace(':', '/')}": b for b in (layer, config, manifest)}
    parts = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index, **blobs}
    draft = target.with_suffix(".draft")
    draft.write_bytes(_tar(parts, {}, mode=0o644))
    draft.rename(target)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    """How a manifest or an index names a blob."""
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _tar(files: dict[str, bytes], links: dict[str, str], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder in _folders([*files, *links]):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(member)
        for name, content in sorted(files.items()):
            add_bytes(tar, name, content, mode)
        for name, goal in sorted(links.items()):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, goal
            tar.addfile(member)
    return buffer.getvalue()


def add_bytes(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


def _folders(names: list[str]) -> list[str]:
    found = {str(parent) for name in names for parent in Path(name).parents}
    return sorted(found - {"."})
