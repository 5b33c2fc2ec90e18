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

FIRST_ROWS = 8
GROWTH = 4
RESERVE = 2
SMALL_PART = 16
"""Rows that a budget lets begin before one has ended, and for each that has; or, of those that it
seems to bear, one in so many: a large budget holds nothing up. And how often it bears what a row
takes, for each on its way."""


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
    for line in _lines(plan, used):
        if line.used >= line.limit:
            return _spent(line, f"{line.told} used")
    return None


def bounds_rows(plan: Plan) -> bool:
    """Whether there is a budget that rows use up."""
    return plan.budget is not None and bool(plan.budget.tokens or plan.budget.cost)


def rows_borne(plan: Plan, used: Used, ended: int) -> int:
    """So many rows in all may have been begun, by what the `ended` ones took.

    It bears `RESERVE` times the mean for each row on its way: short rows end first, and those that
    have not ended are the others. As they end it is known better, and more are begun. In the same
    way, few rows tell little: until many have ended, no more are begun than some for each of them,
    or than a small part of what the budget seems to bear."""
    cautious = FIRST_ROWS + GROWTH * ended
    lines = [line for line in _per_row(plan, used) if line.used]
    if not lines or not ended:
        return cautious
    rest = min(int(ended * (line.limit - line.used) / line.used) for line in lines)
    most = ended + max(rest // RESERVE, min(rest, 1))
    return min(most, max(cautious, most // SMALL_PART))


def rest_too_small(plan: Plan, used: Used, ended: int) -> Stop:
    """How to end when nothing is on its way, and the budget bears no more rows than have ended."""
    line = max(_per_row(plan, used), key=lambda line: line.used / line.limit)
    mean = line.mean(ended)
    return _spent(line, f"{line.told} used, and a row takes about {mean}")


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


class _Line(msgspec.Struct, frozen=True):
    """One of a budget's limits, and how much of it is used."""

    reason: str
    field: str
    used: Decimal
    limit: Decimal
    told: str

    def mean(self, rows: int) -> str:
        """Used by one of so many rows."""
        each = self.used / rows
        return money(each) if self.field == "cost" else f"{each:,.0f}"


def _per_row(plan: Plan, used: Used) -> list[_Line]:
    """What rows use up."""
    return [line for line in _lines(plan, used) if line.reason != TIME_SPENT]


def _lines(plan: Plan, used: Used) -> list[_Line]:
    budget = plan.budget
    lines: list[_Line] = []
    if budget is None:
        return lines
    if (most := budget.tokens) is not None:
        told = f"{used.tokens:,} of {most:,} tokens"
        lines.append(_Line(TOKENS_SPENT, "tokens", Decimal(used.tokens), Decimal(most), told))
    if budget.cost is not None and used.cost is not None:
        told = f"{money(used.cost)} of {budget.cost}"
        lines.append(_Line(COST_SPENT, "cost", used.cost, budget.cost.value, told))
    if (longest := budget.wall_time) is not None:
        told = f"{used.seconds:.0f} s of {longest}"
        seconds = Decimal(used.seconds)
        lines.append(_Line(TIME_SPENT, "wallTime", seconds, Decimal(longest.seconds), told))
    return lines


def _spent(line: _Line, told: str) -> Stop:
    fix = f"raise spec.budget.{line.field} and run it again to go on"
    return Stop("Stopped", line.reason, f"budget.{line.field}: {told}; {fix}")
