"""Puts itself under limits and runs `program.py` of the folder that it is given.

Runs as a script under `python -I`, with the standard library and nothing of ours.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable

NEW_USER, NEW_NET, NEW_PID, NEW_IPC = 0x10000000, 0x40000000, 0x20000000, 0x08000000
DEATH_SIGNAL, NO_NEW_PRIVILEGES = 1, 38
PASSED = 77


def isolate(libc: ctypes.CDLL) -> bool:
    """Namespaces without network and of process ids; the ids hold from the next fork on."""
    return bool(libc.unshare(NEW_USER | NEW_NET | NEW_PID | NEW_IPC) == 0)


def limit(limits: dict[str, float]) -> None:
    seconds = math.ceil(limits["seconds"])
    for kind, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, int(limits["memory"])),
        (resource.RLIMIT_FSIZE, int(limits["file_size"])),
        (resource.RLIMIT_NPROC, int(limits["processes"])),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        # CPU: the soft limit's signal says why; the hard one, a second later, cannot be ignored.
        wanted = most + (kind == resource.RLIMIT_CPU)
        last = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (min(most, last), last))
    signal.setitimer(signal.ITIMER_REAL, limits["seconds"])


def run(folder: str) -> int:
    """The exit status."""
    with open(os.path.join(folder, "program.py"), encoding="utf-8") as file:
        program = file.read()
    try:
        exec(compile(program, "answer.py", "exec"), {"__name__": "__main__"})
    except SystemExit as ended:
        print(f"SystemExit: {ended.code} (it ended before its tests did)", file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc(limit=-3)
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return PASSED


def main(folder: str) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    with open(os.path.join(folder, "limits.json"), encoding="utf-8") as file:
        limits = json.load(file)
    if isolate(libc):
        with open(os.path.join(folder, "isolated"), "w"):
            pass
    return in_child(libc, lambda: in_child(libc, lambda: program(folder, limits)))


def program(folder: str, limits: dict[str, float]) -> int:
    limit(limits)
    return run(folder)


def in_child(libc: ctypes.CDLL, work: Callable[[], int]) -> int:
    """The exit status of the work, done by a child that dies with us; 128 + n for signal n.

    There are two: the first is number 1 of its namespace, which no default action of a signal ends,
    and with which everything in it ends.
    """
    child = os.fork()
    if not child:
        libc.prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        status = 1
        try:
            status = work()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


if __name__ == "__main__":
    os._exit(main(sys.argv[1]))
