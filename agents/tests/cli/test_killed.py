"""`weft run` killed with SIGKILL, its whole process group, and started again."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from weft.attack import oracle, pipeline
from weft.attack.processes import Command

ROWS = 900
WITHIN = 120.0
"""Seconds that anything here may take."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short name: Ray's sockets have room for 107 characters."""
    made = Path(tempfile.mkdtemp(prefix="wk-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_killed_at_three_moments_and_run_again_makes_every_row_once(folder: Path) -> None:
    pipeline.write(folder, rows=ROWS, seconds=0.3)
    output = folder / pipeline.OUTPUT
    seen = 0
    # Before anything is committed, soon after the first commit, and with half of the rows done.
    for least in (0, 1, ROWS // 2):
        command = Command(folder)
        try:
            wanted = max(least, seen + bool(least))
            wait_until(command, partial(has_rows, output, wanted))
            os.killpg(command.pid, signal.SIGKILL)
            assert command.wait_until_gone(60) == []
        finally:
            command.kill_all()
        committed = oracle.read(output)
        assert seen <= len(committed) < ROWS
        assert oracle.judge(committed, expected=ROWS, whole=False) == []
        seen = len(committed)
    assert seen >= ROWS // 2
    last = Command(folder)
    try:
        wait_until(last, lambda: last.ended() is not None)
        assert last.ended() == 0, last.errors.read_text()
    finally:
        last.kill_all()
    assert oracle.judge(oracle.read(output), expected=ROWS, whole=True) == []


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", ["gcs", "raylet"])
def test_a_run_whose_ray_dies_says_so_and_ends(folder: Path, part: str) -> None:
    pipeline.write(folder, rows=20_000)
    command = Command(folder)
    try:
        wait_until(command, partial(has_rows, folder / pipeline.OUTPUT, 1))
        (pid,) = command.roles()[part]
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(command, lambda: command.ended() is not None)
        assert time.monotonic() - killed < 20
        assert command.ended() == 1
        assert command.wait_until_gone(60) == []
    finally:
        command.kill_all()
    # Ray's own C++ writes about its death, too.
    told = command.errors.read_text().splitlines()
    (line,) = [line for line in told if line.startswith("weft:")]
    assert line.startswith("weft: run: Ray's ")
    assert line.endswith("has died under it; the same command goes on with what is committed")


def has_rows(output: Path, least: int) -> bool:
    return len(oracle.read(output)) >= least


def wait_until(command: Command, done) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + WITHIN
    while not done():
        assert time.monotonic() < deadline, command.errors.read_text()
        assert command.ended() is None or done(), command.errors.read_text()
        time.sleep(0.1)
