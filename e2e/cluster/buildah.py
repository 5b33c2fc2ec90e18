"""buildah with its own storage in the cache, without a daemon and without namespaces of its own."""

from __future__ import annotations

from pathlib import Path

from .settings import cache_folder
from .shell import Words, run, succeeds, write


def _folder() -> Path:
    return cache_folder() / "buildah"


def storage() -> Path:
    """Overlay mounts may be left below it by a build that was killed."""
    return _folder()


def _base(*words: str | Path) -> Words:
    folder = _folder()
    return ["buildah", "--root", folder / "storage", "--runroot", folder / "run",
            "--storage-driver", "overlay", *words]  # fmt: skip


def _policy() -> Path:
    """Whose images are trusted: all, since they come from this machine."""
    path = _folder() / "policy.json"
    write(path, '{"default": [{"type": "insecureAcceptAnything"}]}')
    return path


def has(image: str) -> bool:
    return succeeds(_base("inspect", "--type", "image", image))


def build(
    dockerfile: Path,
    context: Path,
    tag: str,
    *,
    target: str = "",
    args: dict[str, str] | None = None,
    mounts: dict[Path, str] | None = None,
    log: Path,
    seconds: float = 3600,
) -> None:
    """Build one target; layers that have not changed are taken from the cache.

    ``mounts`` are there while commands run and never become part of a layer. `chroot` isolation
    shares the machine's network and needs no right that a container lacks.
    """
    options: list[str | Path] = ["--isolation", "chroot", "--layers", "--pull-never"]
    options += ["--signature-policy", _policy(), "--file", dockerfile, "--tag", tag]
    if target:
        options += ["--target", target]
    for key, value in (args or {}).items():
        options += ["--build-arg", f"{key}={value}"]
    for source, point in (mounts or {}).items():
        options += ["--volume", f"{source}:{point}:ro"]
    command = ["nice", "-n", "10", *_base("build", *options, context)]
    run(command, seconds=seconds, log=log)


def push(tag: str, layout: Path, reference: str, *, log: Path) -> None:
    """Write the image to an OCI layout; zstd costs least both here and at the nodes.

    buildah packs all layers anew each time: 7 s for 500 MB.
    """
    layout.parent.mkdir(parents=True, exist_ok=True)
    destination = f"oci:{layout}:{reference}"
    options = ["--compression-format", "zstd", "--compression-level", "1", "--format", "oci"]
    options += ["--signature-policy", str(_policy())]
    run(_base("push", *options, tag, destination), seconds=900, log=log)
