"""What the view says of a run: rates, time left, what is waited for, and why nothing moves."""

from __future__ import annotations

from pathlib import Path

import good_manifests
import pytest

from weft.cli.progress import STALLED_AFTER, Meter
from weft.cli.reasons import grouped
from weft.cli.views import plain_line
from weft.runtime.status import (
    InstanceStatus,
    OutputStatus,
    PoolStatus,
    RowCounts,
    Status,
    TokenCounts,
)
from weft_api.load import load
from weft_api.plan import Plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    good_manifests.write(tmp_path)
    return load([tmp_path]).compile()


def status(accepted: int, *, hops: int = 0, in_work: int = 0, message: str = "") -> Status:
    """All processes up; `hops` and `in_work` are the drafter's."""

    def instance(name: str, hops: int = 0, in_flight: int = 0) -> InstanceStatus:
        return InstanceStatus(name, "", "serving", 3, in_flight, hops, 0.0, 10 * hops, hops)

    return Status(
        pipeline="answers",
        phase="Running",
        plan_generation=1,
        message=message,
        rows=RowCounts(100, accepted, 0, 0, 10, 90 - accepted, 0),
        tokens=TokenCounts(0, 0),
        pools=[
            PoolStatus("judge", "judge", [instance("judge-0")]),
            PoolStatus("draft", "draft", [instance("draft-0", hops, in_work)]),
        ],
        writers=[instance("writer-0")],
        output=OutputStatus("/out", 1),
        started=0.0,
        elapsed=5.0,
    )


def test_rates_and_time_left_come_from_the_last_seconds(plan: Plan) -> None:
    meter = Meter(plan)
    meter.take(status(0), 0.0)
    # A slow start is forgotten.
    for second in range(1, 40):
        meter.take(status(0, hops=second), float(second))
    progress = meter.take(status(0, hops=40), 40.0)
    for second in range(41, 61):
        progress = meter.take(status(2 * (second - 40), hops=40 + 4 * (second - 40)), float(second))
    assert progress.rows_per_second == pytest.approx(2.0)
    assert progress.left == pytest.approx(60 / 2.0)
    assert [pool.step for pool in progress.pools] == ["draft", "judge"]
    draft = progress.pools[0]
    assert draft.hops_per_second == pytest.approx(4.0)
    assert draft.tokens_per_second == pytest.approx(44.0)
    assert plain_line(progress) == (
        "40 of 100 rows (40 accepted, 0 rejected, 0 dead), 10 in flight, 2.0 rows/s, 30 s left"
    )


def test_a_process_that_starts_again_gives_no_negative_rate(plan: Plan) -> None:
    meter = Meter(plan)
    meter.take(status(5, hops=500), 0.0)
    assert meter.take(status(5, hops=1), 1.0).pools[0].hops_per_second == 0.0


def test_where_nothing_moves_the_view_says_where_the_rows_are(plan: Plan) -> None:
    meter = Meter(plan)
    meter.take(status(5, hops=7, in_work=9), 0.0)
    assert meter.take(status(5, hops=7, in_work=9), STALLED_AFTER - 1).trouble == ""
    trouble = meter.take(status(5, hops=7, in_work=9), STALLED_AFTER + 5).trouble
    assert "nothing has moved for 20 s" in trouble
    assert "9 rows are with draft" in trouble
    assert meter.take(status(6, hops=8), STALLED_AFTER + 6).trouble == ""


def test_trouble_that_a_process_reports_is_shown_at_once(plan: Plan) -> None:
    told = Meter(plan).take(status(5, message="the bucket does not answer"), 0.0)
    assert told.trouble == "the bucket does not answer"


def test_what_is_not_up_yet_is_named(plan: Plan) -> None:
    starting = status(0)
    starting.pools[1].instances[0].state = "starting"
    starting.writers.clear()
    progress = Meter(plan).take(starting, 0.0)
    assert progress.starting == ["draft", "writer"]
    assert plain_line(progress) == "waiting for draft, writer"


def test_at_the_end_the_last_figures_of_the_agents_stand(plan: Plan) -> None:
    meter = Meter(plan)
    meter.take(status(99, hops=120), 0.0)
    ended = status(100)
    for pool in ended.pools:
        pool.instances.clear()
    assert [pool.hops for pool in meter.take(ended, 1.0).pools] == [120, 0]


def test_reasons_are_grouped_by_kind_and_the_commonest_come_first() -> None:
    reasons = [
        *(f"rows.jsonl:{n}: not JSON" for n in range(5)),
        *(f"step draft: no order `LL-{n}`" for n in range(9)),
        "step judge: 'x' is gone",
        "step tools: out of order",
    ]
    kinds, rest = grouped(reasons, 3)
    assert kinds == [
        (9, "step draft: no order `LL-0`"),
        (5, "rows.jsonl:0: not JSON"),
        (1, "step judge: 'x' is gone"),
    ]
    assert rest == 1
