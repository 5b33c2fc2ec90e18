"""The plans that a process knows: the newest, and older ones that rows still run by."""

from __future__ import annotations

from collections.abc import Iterable

from weft_api.plan import Plan

MOST = 16
"""Generations kept at once. A row that runs by one older than all these goes on by the newest."""


class Generations:
    """Plans by generation; never empty, bounded by `MOST`."""

    def __init__(self, plan: Plan) -> None:
        self._plans = {plan.generation: plan}

    @property
    def newest(self) -> Plan:
        return self._plans[max(self._plans)]

    def get(self, generation: int) -> Plan | None:
        return self._plans.get(generation)

    def add(self, plan: Plan) -> None:
        """Come to know a plan, newer or older than the others."""
        self._plans[plan.generation] = plan
        self.keep(self._plans)

    def keep(self, generations: Iterable[int]) -> None:
        """Forget all but these and the newest."""
        wanted = {*generations, max(self._plans)}
        numbers = sorted(number for number in self._plans if number in wanted)[-MOST:]
        self._plans = {number: self._plans[number] for number in numbers}

    def drop_before(self, generation: int) -> None:
        """Forget those that are older, but never the newest."""
        self.keep(number for number in self._plans if number >= generation)

    def all(self) -> list[Plan]:
        """The newest first."""
        return [self._plans[number] for number in sorted(self._plans, reverse=True)]
