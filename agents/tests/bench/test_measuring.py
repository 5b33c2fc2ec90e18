"""What the benchmarks compute from what they saw: traces, processes, memory."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from weft.bench import in_process
from weft.bench.memory import Watched
from weft.bench.plans import HOPS, echo_plan
from weft.bench.processes import DRIVER, HEAD, RAY, Processes, by_role, spent
from weft.bench.recovery import issued_again, longest_gap, waits_of
from weft.bench.traces import Hop, busy_share


def hop(number: int, started: float, *, epoch: int = 1 << 16, fork: int = 0) -> Hop:
    return Hop(0, number, "first-0", epoch, fork, started, 0.05, 0.0)


def test_slots_are_busy_for_the_share_of_time_that_calls_fill() -> None:
    calls = [(10.0, 12.0), (10.0, 11.0), (11.5, 14.0)]
    assert busy_share(calls, slots=2, until=12.0) == pytest.approx(3.5 / 4)
    assert busy_share(calls, slots=2, until=14.0) == pytest.approx(5.5 / 8)


def test_a_row_moved_by_an_agents_death_waited_from_the_death_to_the_hop_in_its_place() -> None:
    kills = [("first-0", 100.0), ("second-1", 200.0), ("weft-head", 300.0)]
    assert waits_of([hop(0, 99.9), hop(1, 100.4, fork=1), hop(2, 100.5, fork=1)], kills) == [
        pytest.approx(0.4)
    ]
    assert waits_of([hop(0, 200.7, fork=1)], kills) == [pytest.approx(0.7)]
    assert waits_of([hop(0, 200.7, epoch=(1 << 16) + 1)], kills) == []
    assert waits_of([hop(0, 199.0), hop(1, 203.0, epoch=(1 << 16) + 1)], kills) == [
        pytest.approx(3.0)
    ]


def test_rows_that_nobody_s_death_moved_did_not_wait() -> None:
    kills = [("first-0", 100.0), ("weft-head", 300.0)]
    assert waits_of([hop(0, 100.2), hop(1, 100.3)], kills) == []
    assert waits_of([hop(0, 99.0), hop(1, 99.5, fork=1)], kills) == []


def test_what_the_head_s_death_moved_is_not_the_agents() -> None:
    kills = [("first-0", 100.0), ("weft-head", 300.0)]
    assert waits_of([hop(0, 299.0), hop(1, 301.0, epoch=2 << 16)], kills) == []


def test_the_longest_gap_counts_from_the_death_on() -> None:
    starts = [90.0, 99.9, 100.1, 100.2, 101.7, 101.8, 190.0]
    assert longest_gap(starts, 100.0) == pytest.approx(1.5)


def test_the_first_new_row_is_the_first_that_the_successor_issued() -> None:
    rows = [
        [hop(0, 99.0)],
        [hop(0, 100.5)],
        [hop(0, 103.2, epoch=2 << 16)],
        [hop(0, 103.0, epoch=2 << 16)],
    ]
    assert issued_again(rows, 100.0) == 103.0


def test_cpu_is_told_by_role() -> None:
    names = {"weft-head": 1, "first-0": 2, "first-1": 3, "two-words-0": 4}
    amounts = {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, os.getpid(): 5.0, 77: 6.0}
    assert by_role(amounts, names) == {
        HEAD: 1.0,
        "first": 5.0,
        "two-words": 4.0,
        DRIVER: 5.0,
        RAY: 6.0,
    }


def test_a_childs_cpu_is_seen_and_what_is_left_out_is_not() -> None:
    busy = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint(1, flush=True)\ninput()"
    with Popen([sys.executable, "-c", busy], stdin=PIPE, stdout=PIPE) as child:
        try:
            before = {child.pid: 0.0}
            assert child.stdout is not None
            child.stdout.readline()
            assert spent(before, Processes().cpu())[child.pid] >= 0.25
            assert child.pid not in Processes(without="process_time").cpu()
            assert Processes().memory()[child.pid] > 1 << 20
        finally:
            child.communicate(b"\n")
    time.sleep(0)
    assert child.pid not in Processes().cpu()


def test_growth_is_told_by_the_late_samples_only() -> None:
    watched = Watched()
    filling = [(rows, 50 << 20) for rows in range(0, 3000, 500)]
    late = [(rows, (100 << 20) + rows * 100) for rows in range(3000, 10_001, 500)]
    watched.samples["writer-0"] = filling + late
    assert watched.slope("writer-0", 10_000) == pytest.approx(100 * 1e5)
    assert watched.said("writer-0", 10_000) == "100 MiB after 3,000 rows, 101 after 10,000"


def test_the_protocol_in_one_process_takes_every_row_through_all_its_hops() -> None:
    found = in_process.measure(rows=60, in_flight=20, chars=1024)
    assert found.hops == 60 * HOPS
    assert found.total > found.handling + found.frames > 0
    # On average a body holds half of its eight turns, and each hop's trace goes along.
    assert 4 * 1024 < found.bytes < 6 * 1024


def test_the_echo_plan_is_what_the_design_asks_for(tmp_path: Path) -> None:
    plan = echo_plan(tmp_path / "out", rows=10, in_flight=100)
    assert len(plan.pools) == 4
    assert plan.delivery.in_flight_rows == 100
    assert plan.pools[0].config == {"chars": 1024, "spread": 0.2, "maxTurns": HOPS}
