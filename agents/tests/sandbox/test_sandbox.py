"""Code that a model wrote, run for real: what passes, and what each limit stops."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from weft.sandbox import Limits, Ran, run_python


async def ran(program: str, **limits: float) -> Ran:
    return await run_python(program, Limits(**limits))  # type: ignore[arg-type]


async def test_a_program_that_comes_to_its_end_has_passed() -> None:
    found = await ran("def add(a, b):\n    return a + b\nassert add(1, 2) == 3\nprint('fine')")
    assert (found.passed, found.timed_out, found.output) == (True, False, "fine\n")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("assert 1 == 2, 'one is not two'", "AssertionError: one is not two"),
        ("def broken(:", "SyntaxError"),
        ("import sys; sys.exit(0)", "it ended before its tests did"),
        ("import os; os._exit(0)", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", ""),
        ("x = bytearray(1 << 40)", "MemoryError"),
        ("open('big', 'wb').write(b'x' * (4 << 20))", ""),
        ("files = [open(f'f{n}', 'w') for n in range(1000)]", "Too many open files"),
        ("import os; print(os.environ['WEFT_SECRET'])", "KeyError"),
    ],
)
async def test_what_does_not_pass_says_why(
    program: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEFT_SECRET", "s3cret")
    found = await ran(program)
    assert not found.passed
    assert said in found.output


@pytest.mark.parametrize("program", ["while True: pass", "import time; time.sleep(60)"])
async def test_what_takes_too_long_is_killed(program: str) -> None:
    began = time.monotonic()
    found = await ran(program, seconds=0.5)
    assert time.monotonic() - began < 5
    assert found.timed_out
    assert not found.passed


async def test_what_it_has_started_is_killed_with_it(tmp_path: Path) -> None:
    marker = tmp_path / "alive"
    child = f"import time\nwhile True:\n    open({str(marker)!r}, 'a').write('x'); time.sleep(0.05)"
    await ran(
        f"import os, sys\nif not os.fork():\n    exec({child!r})\nimport time; time.sleep(0.5)"
    )
    size = marker.stat().st_size
    assert size
    await asyncio.sleep(0.4)
    assert marker.stat().st_size == size


async def test_output_without_end_is_cut() -> None:
    found = await ran("while True: print('x' * 1000)", seconds=2)
    assert not found.passed
    assert len(found.output) <= 4000


async def test_there_is_no_network_where_the_kernel_lets_us_take_it_away() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = await ran(f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)")
    assert found.passed is not found.isolated
    server.close()


async def test_programs_run_beside_each_other_in_folders_of_their_own() -> None:
    found = await asyncio.gather(
        *(ran(f"open('x', 'x').write('{n}'); print(open('x').read())") for n in range(4))
    )
    assert [one.output for one in found] == ["0\n", "1\n", "2\n", "3\n"]
