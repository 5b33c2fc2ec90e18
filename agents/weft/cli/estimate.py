"""What a whole source will take, told from a sample of its rows. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

from weft.runtime.limits import cost_of
from weft_api.limits import model_of
from weft_api.plan import Plan, PoolPlan

RESAMPLES = 400
"""Draws with replacement from the sample (a bootstrap): the spread is between the 10th and the 90th
percentile of what they give."""

Z = 1.2816
"""Of a normal distribution, 80 % lie so many standard deviations around its mean."""


@dataclass(frozen=True)
class Sampled:
    """What one row has taken."""

    end: str
    """`$accept`, `$reject` or `$dead`."""
    seconds: Mapping[str, float]
    """Pool -> seconds in its agents' hands."""
    tokens: Mapping[str, tuple[int, int]]
    """Pool -> prompt and completion tokens."""
    bytes: float
    """Of its place in the output, compressed."""


@dataclass(frozen=True)
class Range:
    """A figure from the whole sample, and what most other samples of its size would give."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """Of one row on average, and of `rows` of them."""

    sample: int
    rows: int | None
    """Rows that it is for; None where their number is not known."""
    rows_per_second: Range
    accepted: Range
    """Part of the rows, 0 to 1."""
    tokens_per_row: Range
    cost: Range | None
    """Of all rows; None without a price table."""
    seconds: Range | None
    """For all rows."""
    bytes: Range | None
    """For all rows."""
    bottleneck: str
    """The pool that the others wait for."""


def estimate(plan: Plan, sample: Sequence[Sampled], rows: int | None) -> Estimate:
    """`sample` is not empty. With a target, `rows` is raised to what it takes to reach it."""
    count = rows
    target = plan.output.target_rows
    accepted = _share(sample)
    if target is not None and accepted:
        needed = round(target / accepted)
        count = needed if count is None else min(count, needed)
    draw = random.Random(0)
    resamples = [[draw.choice(sample) for _ in sample] for _ in range(RESAMPLES)]

    def of(figure: Callable[[Sequence[Sampled]], float]) -> Range:
        drawn = sorted(figure(each) for each in resamples)
        return Range(figure(sample), drawn[len(drawn) // 10], drawn[-len(drawn) // 10])

    def for_all(figure: Callable[[Sequence[Sampled]], float]) -> Range | None:
        if count is None:
            return None
        each = of(figure)
        return Range(each.value * count, each.low * count, each.high * count)

    priced = plan.budget is not None and bool(plan.budget.prices)
    return Estimate(
        len(sample),
        count,
        of(lambda some: _speed(plan, some)[0]),
        _share_within(sample),
        of(lambda some: fmean(sum(map(sum, row.tokens.values())) for row in some)),
        for_all(lambda some: _cost(plan, some)) if priced else None,
        for_all(lambda some: 1 / _speed(plan, some)[0]),
        for_all(lambda some: fmean(row.bytes for row in some)),
        _speed(plan, sample)[1],
    )


def _share(sample: Sequence[Sampled]) -> float:
    return sum(row.end == "$accept" for row in sample) / len(sample)


def _share_within(sample: Sequence[Sampled]) -> Range:
    """By Wilson's interval: a bootstrap of a sample in which all are accepted would say that all
    always are."""
    n, share = len(sample), _share(sample)
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    spread = Z / (1 + Z * Z / n) * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return Range(share, max(0.0, middle - spread), min(1.0, middle + spread))


def _cost(plan: Plan, sample: Sequence[Sampled]) -> float:
    """Of one row on average."""
    used: dict[str, tuple[int, int]] = {}
    for row in sample:
        for pool, (prompt, completion) in row.tokens.items():
            model = model_of(plan.pool(pool).engine)
            before = used.get(model, (0, 0))
            used[model] = (before[0] + prompt, before[1] + completion)
    return float(cost_of(plan, used) or 0) / len(sample)


def _speed(plan: Plan, sample: Sequence[Sampled]) -> tuple[float, str]:
    """Rows per second, and the pool that sets it.

    By the law of utilisation: a pool that works on `n` rows at once and takes `s` seconds for a row
    passes `n / s` rows per second at most; and by Little's law `inFlightRows` over the time that a
    row is on its way is a bound for all.
    """
    whole = fmean(sum(row.seconds.values()) for row in sample)
    speed, slowest = plan.delivery.in_flight_rows / max(whole, 1e-6), "delivery.inFlightRows"
    for pool in plan.pools:
        spent = fmean(row.seconds.get(pool.name, 0.0) for row in sample)
        if spent and (least := _at_once(pool) / spent) < speed:
            speed, slowest = least, f"pool {pool.name}"
    return speed, slowest


def _at_once(pool: PoolPlan) -> int:
    """Rows that a pool works on at the same time."""
    each = pool.concurrency
    if pool.engine is not None:
        if pool.engine.simulator is not None:
            each = min(each, pool.engine.simulator.slots)
        elif pool.engine.openai is not None and pool.engine.openai.max_concurrency:
            each = min(each, pool.engine.openai.max_concurrency)
    return max(1, pool.replicas) * each
