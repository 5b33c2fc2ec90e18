"""When a run is to stop, as a table; and what it has used, however often processes come back."""

from __future__ import annotations

import math
from decimal import Decimal
from random import Random

import pytest

from weft.runtime import limits
from weft.runtime.limits import (
    FIRST_ROWS,
    GROWTH,
    Used,
    at_the_end,
    bounds_rows,
    cost_of,
    rest_too_small,
    rows_borne,
    spent,
    too_many_rejected,
)
from weft.runtime.usage import MOST_PROCESSES, Usage, decode_usage, encode_usage
from weft_api.limits import BudgetSpec, ModelPrice, StopOnSpec
from weft_api.plan import Delivery, Flow, Output, Plan, Source
from weft_api.scalars import Quantity, Span
from weft_api.source import Generate


def _plan(
    *,
    target: int | None = None,
    budget: BudgetSpec | None = None,
    stop_on: StopOnSpec | None = None,
) -> Plan:
    return Plan(
        generation=1,
        namespace="default",
        pipeline="limited",
        uid="",
        source=Source(generate=Generate(rows=10)),
        output=Output(uri="/out", commit_interval=5.0, target_rows=target),
        storage_secret="",
        flow=Flow(entry="a", max_hops=4, steps=[]),
        prompts=[],
        tools=[],
        delivery=Delivery(
            max_attempts=3,
            in_flight_rows=10,
            in_flight_bytes=1 << 20,
            lease_seconds=10,
            handler_timeout_seconds=60,
            writers=1,
        ),
        seed=0,
        pools=[],
        budget=budget,
        stop_on=stop_on,
    )


PRICES = [ModelPrice(model="m", prompt=Quantity("0.25"), completion=Quantity("2.00"))]
BUDGET = BudgetSpec(tokens=1000, cost=Quantity("0.50"), wall_time=Span("1h"), prices=PRICES)


def test_each_budget_ends_the_run_in_order_and_says_what_to_raise() -> None:
    plan = _plan(budget=BUDGET)
    assert spent(plan, Used(999, Decimal("0.49"), 3599)) is None
    for used, reason, field in (
        (Used(1000, Decimal(0), 0), limits.TOKENS_SPENT, "tokens: 1,000 of 1,000 tokens"),
        (Used(0, Decimal("0.5"), 0), limits.COST_SPENT, "cost: 0.5 of 0.50"),
        (Used(0, Decimal(0), 3600), limits.TIME_SPENT, "wallTime: 3600 s of 1h"),
    ):
        stop = spent(plan, used)
        assert stop is not None
        assert (stop.phase, stop.reason) == ("Stopped", reason)
        assert stop.message.startswith(f"budget.{field} used; raise spec.budget.")
    assert spent(_plan(), Used(10**12, None, 10**9)) is None


def test_a_budget_bears_as_many_rows_as_those_that_ended_tell() -> None:
    plan = _plan(budget=BUDGET)
    assert rows_borne(plan, Used(0, Decimal(0), 0), ended=0) == FIRST_ROWS
    assert rows_borne(plan, Used(500, Decimal("0.2"), 0), ended=0) == FIRST_ROWS
    # Rows that use nothing tell nothing: never are all begun before one is known.
    assert rows_borne(plan, Used(0, Decimal(0), 0), ended=10) == FIRST_ROWS + 10 * GROWTH
    # A rest of 23 rows is kept for half as many, and the last ones are begun one by one.
    assert rows_borne(plan, Used(300, Decimal("0.01"), 0), ended=10) == 10 + 11
    assert rows_borne(plan, Used(300, Decimal("0.25"), 0), ended=10) == 10 + 5
    assert rows_borne(plan, Used(900, Decimal("0.01"), 0), ended=10) == 11
    assert rows_borne(plan, Used(910, Decimal("0.01"), 0), ended=10) == 10
    assert bounds_rows(plan)
    assert not bounds_rows(_plan())
    assert not bounds_rows(_plan(budget=BudgetSpec(wall_time=Span("1h"))))


def test_a_rest_that_is_less_than_a_row_takes_ends_the_run_and_says_what_a_row_takes() -> None:
    plan = _plan(budget=BUDGET)
    stop = rest_too_small(plan, Used(970, Decimal("0.1"), 0), ended=10)
    assert (stop.phase, stop.reason) == ("Stopped", limits.TOKENS_SPENT)
    assert "970 of 1,000 tokens used, and a row takes about 97; raise spec." in stop.message
    stop = rest_too_small(plan, Used(10, Decimal("0.48"), 0), ended=10)
    assert stop.reason == limits.COST_SPENT
    assert "0.48 of 0.50 used, and a row takes about 0.048; raise spec.budget.cost" in stop.message


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("rows", [20, 300, 5000])
def test_a_budget_is_kept_to_a_few_rows_though_very_many_would_be_on_their_way(
    seed: int, rows: int
) -> None:
    """Rows of very different lengths, in virtual time; a token a second, told of call by call."""
    random = Random(seed)
    mean = 1000.0
    plan = _plan(budget=BudgetSpec(tokens=int(rows * mean)))
    active: list[list[float]] = []  # Calls that each row still has to make, their tokens.
    used, ended, begun, most, widest = 0.0, 0, 0, rows_borne(plan, Used(0, None, 0), 0), 0
    while active or begun < most:
        while len(active) < 600 and begun < most and used < rows * mean:
            calls = random.randint(1, 4)  # A third of the first calls is thrown away at once.
            lengths = [random.lognormvariate(math.log(mean / 3), 0.7) for _ in range(calls)]
            active.append(lengths)
            begun += 1
        widest = max(widest, len(active))
        if not active:
            break
        for calls_left in active:
            if random.random() < 0.2:
                used += calls_left.pop()
        ended += sum(not each for each in active)
        active = [each for each in active if each]
        most = rows_borne(plan, Used(int(used), None, 0), ended)
    assert abs(used / mean - rows) < 0.02 * rows + 8
    assert widest == (600 if rows > 1000 else widest)
    assert widest > rows / 4 or rows > 1000


def test_the_cost_is_told_by_model_and_not_without_prices() -> None:
    used = {"m": (2_000_000, 1_000_000), "free": (5, 5)}
    assert cost_of(_plan(budget=BUDGET), used) == Decimal("2.50")
    assert cost_of(_plan(budget=BudgetSpec(tokens=5)), used) is None


def test_too_many_rejections_fail_the_run_once_enough_rows_have_ended() -> None:
    plan = _plan(stop_on=StopOnSpec(rejection_rate=0.5, after_rows=10))
    assert too_many_rejected(plan, accepted=0, rejected=9, dead=0) is None
    assert too_many_rejected(plan, accepted=5, rejected=3, dead=2) is None
    stop = too_many_rejected(plan, accepted=4, rejected=2, dead=4)
    assert stop is not None
    assert (stop.phase, stop.reason) == ("Failed", "RejectionRateTooHigh")
    assert "60% of 10 rows were rejected (2) or died (4), more than 50%" in stop.message
    assert stop.message.endswith("weft show --status dead")


def test_a_source_that_ends_before_the_target_is_a_failure() -> None:
    assert at_the_end(_plan(), 3).phase == "Succeeded"
    assert at_the_end(_plan(target=3), 3).reason == limits.TARGET_REACHED
    missed = at_the_end(_plan(target=4), 3)
    assert (missed.phase, missed.reason) == ("Failed", limits.TARGET_MISSED)
    assert "3 of 4 rows are accepted" in missed.message


def test_counters_that_start_anew_add_up_and_those_told_twice_count_once() -> None:
    usage = Usage()
    usage.take("first", "m", 10, 1)
    usage.take("first", "m", 30, 3)
    usage.take("first", "m", 20, 2)  # An old heartbeat, told by another head.
    usage.take("again", "m", 5, 5)
    usage = decode_usage(encode_usage(usage))
    usage.take("again", "m", 6, 6)
    assert usage.tokens() == {"m": (36, 9)}
    for number in range(2 * MOST_PROCESSES):
        usage.take(f"p{number}", "n", 1, 0)
    assert usage.tokens() == {"m": (36, 9), "n": (2 * MOST_PROCESSES, 0)}
    assert len(usage.processes) == MOST_PROCESSES
