"""What a row of statuses says about a run: rates, time left, and why nothing moves. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from weft.runtime.status import PoolStatus, Status
from weft_api.plan import Plan

WINDOW = 15.0
"""Seconds over which rates are taken."""
STALLED_AFTER = 15.0
"""Seconds without a row ended, a hop made or a token written, after which the view says why."""


@dataclass(frozen=True)
class PoolRate:
    """What a pool's agents do together."""

    name: str
    step: str
    up: int
    wanted: int
    inbox: int
    in_flight: int
    hops: int
    hops_per_second: float
    tokens: int
    """Prompt and completion."""
    tokens_per_second: float


@dataclass(frozen=True)
class Progress:
    """One status, and what the ones before it add to it."""

    status: Status
    pools: list[PoolRate]
    rows_per_second: float
    left: float | None
    """Seconds until the end at the present rate; None where that cannot be told."""
    starting: list[str]
    """`drafter (1 of 2 up)`: what is still waited for."""
    trouble: str
    """Why nothing moves, or what keeps a part from working; "" where all is well."""

    @property
    def ended(self) -> int:
        return ended(self.status)

    @property
    def share(self) -> float | None:
        """Of the rows that are to be made, the part that has ended; None without their number."""
        rows = self.status.rows
        if rows.target is not None:
            return min(1.0, rows.accepted / rows.target)
        total = rows.total
        return min(1.0, self.ended / total) if total else None


@dataclass(frozen=True)
class _Sample:
    at: float
    ended: int
    pools: Mapping[str, tuple[int, int]]
    """Hops and tokens by pool."""


@dataclass
class Meter:
    """Takes statuses as they come; `now` is monotonic seconds."""

    plan: Plan
    _samples: deque[_Sample] = field(default_factory=deque)
    _moved: float | None = None
    _pools: list[PoolRate] = field(default_factory=list)

    def take(self, status: Status, now: float) -> Progress:
        sample = _Sample(
            now, ended(status), {pool.name: (_hops(pool), _tokens(pool)) for pool in status.pools}
        )
        if self._moved is None or self._moves(sample):
            self._moved = now
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].at <= now - WINDOW:
            self._samples.popleft()
        rate = self._rate(lambda each: each.ended)
        return Progress(
            status,
            self._pool_rates(status),
            rate,
            _left(status, rate),
            still_starting(self.plan, status),
            self._trouble(status, now),
        )

    def _moves(self, sample: _Sample) -> bool:
        last = self._samples[-1]
        return sample.ended != last.ended or sample.pools != last.pools

    def _rate(self, counter: Callable[[_Sample], int]) -> float:
        """A process that starts again counts from 0: then there is no rate for a while."""
        first, last = self._samples[0], self._samples[-1]
        gone = last.at - first.at
        return max(0.0, (counter(last) - counter(first)) / gone) if gone > 0 else 0.0

    def _pool_rates(self, status: Status) -> list[PoolRate]:
        """In the flow's order. At the end the agents have left: then the last figures stand."""
        if not any(pool.instances for pool in status.pools):
            return self._pools
        order = [step.name for step in self.plan.flow.steps]
        pools = sorted(status.pools, key=lambda pool: order.index(pool.step))
        self._pools = [self._pool(pool) for pool in pools]
        return self._pools

    def _pool(self, pool: PoolStatus) -> PoolRate:
        def of(sample: _Sample, which: int) -> int:
            return sample.pools.get(pool.name, (0, 0))[which]

        return PoolRate(
            pool.name,
            pool.step,
            sum(instance.state == "serving" for instance in pool.instances),
            self.plan.pool(pool.name).replicas,
            sum(instance.inbox for instance in pool.instances),
            sum(instance.in_flight for instance in pool.instances),
            _hops(pool),
            self._rate(lambda sample: of(sample, 0)),
            _tokens(pool),
            self._rate(lambda sample: of(sample, 1)),
        )

    def _trouble(self, status: Status, now: float) -> str:
        assert self._moved is not None
        if status.finished:
            return ""
        if status.message:
            return status.message
        waited = now - self._moved
        if waited < STALLED_AFTER or still_starting(self.plan, status):
            return ""
        return f"nothing has moved for {waited:.0f} s: {where_rows_are(status)}"


def ended(status: Status) -> int:
    """Rows that have ended, in this run or before it."""
    return status.rows.accepted + status.rows.rejected + status.rows.dead


def still_starting(plan: Plan, status: Status) -> list[str]:
    """The pools and the writers that are not all up yet, with how many are."""
    up = {pool.name: _serving(pool) for pool in status.pools}
    wanted = {pool.name: pool.replicas for pool in plan.pools}
    up["writer"] = sum(writer.state == "serving" for writer in status.writers)
    wanted["writer"] = plan.delivery.writers
    return [
        f"{name} ({up.get(name, 0)} of {count} up)" if count > 1 else name
        for name, count in wanted.items()
        if up.get(name, 0) < count
    ]


def where_rows_are(status: Status) -> str:
    """`64 rows are with drafter, 12 wait for validator; …`"""
    places = [
        f"{count:,} rows are with {pool.name}"
        for pool in status.pools
        if (count := sum(instance.in_flight for instance in pool.instances))
    ] + [
        f"{count:,} wait for {pool.name}"
        for pool in status.pools
        if (count := sum(instance.inbox for instance in pool.instances))
    ]
    if not places:
        return f"{status.rows.in_flight:,} rows are on their way between the agents"
    return f"{', '.join(places)} (slow engine or tool?)"


def _left(status: Status, rate: float) -> float | None:
    rows = status.rows
    if rate <= 0 or status.phase != "Running":
        return None
    if rows.target is not None:
        # As many of those to come are accepted as of those that were.
        share = rows.accepted / ended(status) if rows.accepted else 0.0
        return max(0, rows.target - rows.accepted) / (rate * share) if share else None
    return None if rows.total is None else max(0, rows.total - ended(status)) / rate


def _serving(pool: PoolStatus) -> int:
    return sum(instance.state == "serving" for instance in pool.instances)


def _hops(pool: PoolStatus) -> int:
    return sum(instance.hops for instance in pool.instances)


def _tokens(pool: PoolStatus) -> int:
    return sum(i.prompt_tokens + i.completion_tokens for i in pool.instances)
