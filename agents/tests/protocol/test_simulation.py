"""The simulator itself: deterministic, replayable, and clean for the real machines."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import msgspec
import pytest

from weft.simulation import Schedule, generate, simulate
from weft.simulation.mutants import MUTANTS
from weft.simulation.schedule import MIXES
from weft.simulation.shrink import shrink


@pytest.mark.parametrize("mix", sorted(set(MIXES)))
def test_nothing_is_lost_doubled_or_kept_under(mix: str) -> None:
    broken = [
        (seed, outcome.broken)
        for seed in range(60)
        if (outcome := simulate(generate(seed, mix))).broken
    ]
    assert broken == []


def test_one_seed_gives_one_run_to_the_last_event() -> None:
    for seed in range(10, 20):
        first = simulate(generate(seed), trace=True)
        second = simulate(generate(seed), trace=True)
        assert first.log == second.log
        assert first.struck == second.struck
        assert first.log


def test_every_fault_strikes() -> None:
    struck: Counter[str] = Counter()
    for seed in range(450):
        struck += simulate(generate(seed)).struck
    for name in (
        "frame lost",
        "frame doubled",
        "frame out of order",
        "frame blocked",
        "connection broken",
        "cut between two",
        "partition",
        "partition one way",
        "kill: agent",
        "kill: writer",
        "kill: source",
        "kill several: agent",
        "kill all: source",
        "pause long: agent",
        "replaced while it slept: writer",
        "replaced while it slept: source",
        "zombie found itself dead",
        "commit failed before it was applied",
        "commit applied but reported as failed",
        "commit that was given up found in the table",
        "writer died before its commit",
        "writer died after its commit",
        "drain",
        "left in order",
        "message handed back",
        "scale up",
        "slow agent",
        "hop failed",
        "killed by a poison row",
    ):
        assert struck[name], name


def test_a_failing_schedule_is_made_small_and_still_fails_in_the_same_way() -> None:
    machines = MUTANTS["nothing taken back from the dead"].machines
    outcome = next(
        outcome
        for seed in range(100)
        if (outcome := simulate(generate(seed, "all"), machines)).broken.startswith("lost")
        and len(outcome.schedule.faults) > 2
    )
    small = shrink(outcome, machines)
    assert small.broken.startswith("lost")
    assert len(small.schedule.faults) <= 1
    assert small.schedule.rows == 1
    as_printed = msgspec.json.decode(msgspec.json.encode(small.schedule), type=Schedule)
    assert simulate(as_printed, machines).broken == small.broken


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weft.simulation", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_reports_what_struck_and_replays_what_broke() -> None:
    clean = run("--seeds", "0:20")
    assert clean.returncode == 0
    assert "20 schedules, 0 broken" in clean.stdout
    broken = run("--seeds", "0:3", "--mix", "one death", "--mutant", "leases never run out")
    assert broken.returncode == 1
    replay = next(line for line in broken.stdout.splitlines() if "replay:" in line)
    assert "--mutant 'leases never run out' --seed" in replay
    again = run("--mix", "one death", "--mutant", "leases never run out", "--seed", "0", "--trace")
    assert again.returncode == 1
    assert "FAULT" in again.stdout
    assert run("--seeds", "7").returncode == 2
