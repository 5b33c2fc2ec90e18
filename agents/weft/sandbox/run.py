"""Run a Python program that nobody has read.

What holds it: a process of its own with an empty environment and a temporary folder; limits of CPU
time, memory, file size, open files and (where the agent is not root) processes; a time limit, after
which it and what it started is killed; where the kernel lets us, no network and no sight of other
processes' ids (namespaces).

What it does not protect against: the program may read every file that the agent's user may read,
and fill the temporary folder's disk with many files; a kernel's flaw is a way out. Where secrets or
other tenants are near, run the pool that executes code in pods of their own, without secrets, under
gVisor or Kata (`runtimeClassName` in the pool's podTemplate).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

LAUNCHER = Path(__file__).with_name("launcher.py")
PASSED = 77
"""The launcher's exit status when the program came to its end: 0 would do for `os._exit(0)`."""
MOST_OUTPUT = 4000
"""Characters of its last output that are kept."""
GRACE = 5.0
"""Seconds over the limit for the launcher's own start, and until a killed one has to be gone."""
AT_ONCE = 8
"""Programs of one agent process; others wait."""

_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sandbox")


class Limits(msgspec.Struct, frozen=True):
    """What a program may use."""

    seconds: float = 10.0
    """Of wall time; CPU time is limited to the same, rounded up."""
    memory: int = 512 << 20
    """Bytes of address space."""
    file_size: int = 1 << 20
    """Bytes of each file that it writes, its output among them."""
    processes: int = 16
    """At once, of the agent's user; not enforced by the kernel where that is root."""


class Ran(msgspec.Struct, frozen=True):
    """How it went."""

    passed: bool
    """It came to its end, without an exception, an exit or a signal."""
    timed_out: bool
    output: str
    """The end of what it wrote to standard output and error."""
    isolated: bool
    """Without network, in namespaces of its own."""


async def run_python(program: str, limits: Limits | None = None) -> Ran:
    """Run the program's text to its end. Raises `OSError` where no process can be started."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, _run, program, limits or Limits())


def _run(program: str, limits: Limits) -> Ran:
    with tempfile.TemporaryDirectory(prefix="weft-code-", ignore_cleanup_errors=True) as folder:
        work = Path(folder, "work")
        work.mkdir()
        Path(folder, "program.py").write_text(program, encoding="utf-8", errors="replace")
        Path(folder, "limits.json").write_text(json.dumps(msgspec.to_builtins(limits)))
        with Path(folder, "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-I", str(LAUNCHER), folder],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=work,
                env={"PATH": os.defpath, "HOME": str(work), "TMPDIR": str(work), "LANG": "C.UTF-8"},
                start_new_session=True,
            )
            try:
                status = process.wait(limits.seconds + GRACE)
            except subprocess.TimeoutExpired:
                status = 128 + signal.SIGALRM
            finally:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
        return Ran(
            status == PASSED,
            status in (128 + signal.SIGXCPU, 128 + signal.SIGALRM),
            _tail(Path(folder, "output")),
            Path(folder, "isolated").exists(),
        )


def _tail(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 4 * MOST_OUTPUT))
        return stream.read().decode("utf-8", "replace")[-MOST_OUTPUT:]
