"""Run other programs, and wait for things, with errors that say where to look."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .settings import ClusterError

Words = Sequence[str | Path]


def run(
    argv: Words,
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    seconds: float = 60,
    log: Path | None = None,
) -> str:
    """Run to the end and return its stdout; with ``log``, both streams go to that file instead."""
    words = [str(word) for word in argv]
    shown = " ".join(words)[:200]
    full_env = {**os.environ, **(env or {})}
    try:
        if log is None:
            done = subprocess.run(
                words, input=stdin, env=full_env, cwd=cwd, timeout=seconds, text=True,
                capture_output=True, check=False,
            )  # fmt: skip
            output, errors = done.stdout, done.stderr
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as out:
                done = subprocess.run(
                    words, input=stdin, env=full_env, cwd=cwd, timeout=seconds, text=True,
                    stdout=out, stderr=subprocess.STDOUT, check=False,
                )  # fmt: skip
            output, errors = "", f"{tail(log)}\n(all of it: {log})"
    except FileNotFoundError as error:
        raise ClusterError(f"not on this machine: {error.filename} (for: {shown})") from None
    except subprocess.TimeoutExpired:
        where = f"; see {log}" if log else ""
        raise ClusterError(f"gave up after {seconds:.0f} s: {shown}{where}") from None
    if done.returncode != 0:
        raise ClusterError(f"failed ({done.returncode}): {shown}\n{errors.strip()}")
    return output


def succeeds(argv: Words, *, seconds: float = 20, env: Mapping[str, str] | None = None) -> bool:
    """Whether the command ran and ended with 0; a time-out or a missing program is a no."""
    try:
        run(argv, seconds=seconds, env=env)
    except ClusterError:
        return False
    return True


def write(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file if it changes: some daemons end themselves when their file is touched."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=mode)
    path.write_text(text)


def answers(url: str, *, seconds: float = 2) -> bool:
    """Whether a health port says that all is well. Never by way of a proxy: it is our own."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=seconds) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def tail(log: Path, lines: int = 15) -> str:
    if not log.exists():
        return f"(there is no {log})"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def wait_until(
    what: str,
    probe: Callable[[], bool],
    *,
    seconds: float,
    log: Path,
    alive: Callable[[], bool] = lambda: True,
    pause: float = 0.2,
) -> None:
    """Wait for ``probe``; fail at once when ``alive`` says that it can never come true."""
    deadline = time.monotonic() + seconds
    while not probe():
        if not alive():
            raise ClusterError(f"{what}: its process has ended. Last lines of {log}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{what}: not so after {seconds:.0f} s. Last lines of {log}:\n{tail(log)}"
            )
        time.sleep(pause)
