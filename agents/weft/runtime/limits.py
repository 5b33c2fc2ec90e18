"""When a run is to stop: its target is reached, a budget is spent, too much is rejected. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from weft_api.plan import Plan

DRAINED = "DrainRequested"
INTERRUPTED = "Interrupted"
TARGET_REACHED = "TargetReached"
TARGET_MISSED = "TargetMissed"
ALL_ROWS_ENDED = "AllRowsEnded"
TOKENS_SPENT = "TokenBudgetSpent"
COST_SPENT = "CostBudgetSpent"
TIME_SPENT = "WallTimeSpent"
BUDGETS = frozenset({TOKENS_SPENT, COST_SPENT, TIME_SPENT})


class Stop(msgspec.Struct, frozen=True):
    """How a run is to end once nothing is on its way any more."""

    phase: str
    """`Succeeded`, `Stopped` (in order, and it can go on another time) or `Failed`."""
    reason: str
    """One word, as in a Kubernetes condition."""
    message: str
    """For people, one line."""


class Used(msgspec.Struct, frozen=True):
    """Over the life of the output."""

    tokens: int
    cost: Decimal | None
    """None without a price table."""
    seconds: float


def cost_of(plan: Plan, tokens: Mapping[str, tuple[int, int]]) -> Decimal | None:
    """By the plan's price table; `tokens` by model. Models without a price cost nothing."""
    if plan.budget is None or not plan.budget.prices:
        return None
    prices = {price.model: price for price in plan.budget.prices}
    costs = [prices[model].cost(*used) for model, used in tokens.items() if model in prices]
    return sum(costs, Decimal(0))


def spent(plan: Plan, used: Used) -> Stop | None:
    """The budget that is spent, if any."""
    budget = plan.budget
    if budget is None:
        return None
    if budget.tokens is not None and used.tokens >= budget.tokens:
        return _spent(TOKENS_SPENT, "tokens", f"{used.tokens:,} of {budget.tokens:,} tokens")
    if budget.cost is not None and used.cost is not None and used.cost >= budget.cost.value:
        return _spent(COST_SPENT, "cost", f"{money(used.cost)} of {budget.cost}")
    if budget.wall_time is not None and used.seconds >= budget.wall_time.seconds:
        told = f"{used.seconds:.0f} s of {budget.wall_time}"
        return _spent(TIME_SPENT, "wallTime", told)
    return None


def too_many_rejected(plan: Plan, accepted: int, rejected: int, dead: int) -> Stop | None:
    """By the rows that have ended in this run."""
    limit = plan.stop_on
    ended = accepted + rejected + dead
    if limit is None or limit.rejection_rate is None or ended < limit.after_rows:
        return None
    rate = (rejected + dead) / ended
    if rate <= limit.rejection_rate:
        return None
    return Stop(
        "Failed",
        "RejectionRateTooHigh",
        f"stopOn.rejectionRate: {rate:.0%} of {ended:,} rows were rejected ({rejected:,}) or died "
        f"({dead:,}), more than {limit.rejection_rate:.0%}; see why with weft show --status "
        f"{'rejected' if rejected >= dead else 'dead'}",
    )


def at_the_end(plan: Plan, accepted: int) -> Stop:
    """The end of a run whose rows have all ended."""
    target = plan.output.target_rows
    if target is None:
        return Stop("Succeeded", ALL_ROWS_ENDED, "")
    if accepted >= target:
        return target_reached(target, accepted)
    return Stop(
        "Failed",
        TARGET_MISSED,
        f"output.targetRows: {accepted:,} of {target:,} rows are accepted, and the source has no "
        "more; add rows at its end, or lower targetRows",
    )


def target_reached(target: int, accepted: int) -> Stop:
    more = f" ({accepted:,} are there)" if accepted > target else ""
    return Stop("Succeeded", TARGET_REACHED, f"targetRows: {target:,} rows are accepted{more}")


def money(amount: Decimal) -> str:
    """With as many digits as tell something: `12.50`, `0.00042`."""
    return f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.2g}"


def _spent(reason: str, field: str, told: str) -> Stop:
    fix = f"raise spec.budget.{field} and run it again to go on"
    return Stop("Stopped", reason, f"budget.{field}: {told} used; {fix}")
