"""How many rows the budget bears: asked of what all processes have used at one moment."""

from __future__ import annotations

from collections.abc import Callable

from weft.runtime import limits
from weft.runtime.limits import Stop, Used
from weft.runtime.registry import Registry
from weft_api.plan import Plan

ASK_EVERY = 1.0
"""Seconds between two askings while rows may be begun; when none may, the next follows at once."""


class Budget:
    """`rows`: so many may be begun over the life of the output; None where nothing bounds them.

    What was used is known by the processes' reports, and how many rows have ended by the writers'.
    So that the one fits the other, rows are counted first, and reports made after that are waited
    for: a row that is counted has told what it took."""

    def __init__(self, registry: Registry, used: Callable[[Plan], Used]) -> None:
        self.rows: int | None = 0
        self._registry = registry
        self._used = used
        self._asked = 0
        self._ended_then = 0
        """Rows that had ended when the open report, or the last one, was asked for."""
        self._open = False
        self._ask_at = 0.0

    def look(self, plan: Plan, ended: int, now: float, *, waiting: bool) -> None:
        """Call again and again. `ended`: rows over the life of the output that no agent works on
        any more. `waiting`: a row is held back by `rows`."""
        if not limits.bounds_rows(plan):
            self.rows = None
            self._open = False
            return
        if self.rows is None:
            self.rows = 0
        if not self._open and (waiting or now >= self._ask_at):
            self._open = True
            self._ended_then = ended
            self._ask_at = now + ASK_EVERY
            self._asked = self._registry.ask_reports()
        elif self._open and self._registry.reported(self._asked):
            self._open = False
            self.rows = limits.rows_borne(plan, self._used(plan), self._ended_then)

    def ends(self, plan: Plan, begun: int, ended: int) -> Stop | None:
        """How to end, where a row is held back though none is on its way: the rest of the budget is
        less than a row takes."""
        exact = not self._open and self._ended_then == ended == begun
        if not exact or self.rows is None or begun < self.rows:
            return None
        return limits.rest_too_small(plan, self._used(plan), ended)
