"""How `weft apply` and `weft inject` find the pipelines that run on this machine.

Each run leaves a file in a folder of its user's: where its control API is, and the token for it.
Nobody else can read them (mode 0600 in a folder of mode 0700).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec


class RunFile(msgspec.Struct, frozen=True):
    """A run of this user on this machine."""

    pipeline: str
    output: str
    """The output's uri."""
    address: str
    """`http://127.0.0.1:PORT` of its control API."""
    token: str
    pid: int
    wishes: dict[str, Any] = {}
    """What its command line asked for besides the manifests; plain data."""


def folder() -> Path:
    """`$XDG_RUNTIME_DIR/weft`, else a folder of the user's in the temporary folder.

    Raises `OSError` where it is not this user's alone: somebody else could have put it there."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base) / "weft" if base else Path(tempfile.gettempdir()) / f"weft-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{path} is not a folder that is this user's alone; remove it")
    return path


@contextlib.contextmanager
def announced(run: RunFile) -> Iterator[None]:
    """The run can be found while this is entered."""
    path = folder() / f"{run.pipeline}-{run.pid}-{secrets.token_hex(4)}.json"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(run))
        yield
    finally:
        path.unlink(missing_ok=True)


def runs() -> list[RunFile]:
    """The runs that are alive, by pipeline and output. Files of those that were killed go."""
    found = []
    for path in sorted(folder().glob("*.json")):
        try:
            run = msgspec.json.decode(path.read_bytes(), type=RunFile)
        except (FileNotFoundError, msgspec.MsgspecError):
            continue  # It has just ended, or is being written.
        if _is_alive(run.pid):
            found.append(run)
        else:
            path.unlink(missing_ok=True)
    return sorted(found, key=lambda run: (run.pipeline, run.output))


def chosen(
    found: list[RunFile], pipeline: str | None, output: str | None
) -> tuple[RunFile | None, str]:
    """The one run that is meant, or None and why in one line."""
    named = [run for run in found if pipeline is None or run.pipeline == pipeline]
    fitting = [run for run in named if output is None or run.output == output]
    if len(fitting) == 1:
        return fitting[0], ""
    what = f"pipeline {pipeline!r}" if pipeline else "a pipeline"
    if not fitting:
        others = ", ".join(f"{run.pipeline} (output {run.output})" for run in (named or found)[:5])
        there = f"there runs {others}" if others else "nothing runs here"
        return None, f"{what} is not running on this machine: {there}; start it with weft run"
    listed = ", ".join(f"{run.pipeline} (output {run.output})" for run in fitting[:5])
    return None, f"several runs fit: {listed}; choose one with --pipeline or --output"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
