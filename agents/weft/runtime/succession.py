"""Which plan a run goes by: the one it was started with, and those handed to it while it runs.

A newer plan takes the old one's place when the run can turn into it, everybody here could run by
it, and it is kept where the next head finds it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from weft.data.errors import OutputError
from weft.data.plans import StoredPlans
from weft.flow.conditions import Deadline, Priority
from weft.runtime.generations import MOST, Generations
from weft.runtime.hops import Hops
from weft_api.changes import lasting, rolled
from weft_api.plan import Plan

_T = TypeVar("_T")

log = logging.getLogger(__name__)


class PlanRefused(Exception):
    """A plan that cannot take the place of the running one. A line for each fault."""


class Call(Protocol):
    """Runs a function that blocks in a thread of the caller's."""

    def __call__(self, function: Callable[[], _T], /) -> Awaitable[_T]: ...


class Succession:
    """The plan in force, and the older ones that rows still run by."""

    def __init__(self, plan: Plan, stored: StoredPlans, call: Call, *, rolls: bool) -> None:
        """`rolls`: somebody starts new processes where a plan needs them; else such a plan is
        refused."""
        self.plan = plan
        self.generations = Generations(plan)
        self.refused = ""
        """Why the plan that this head was started with is not the one in force."""
        self._stored = stored
        self._call = call
        self._rolls = rolls

    async def begin(self, *, waits: bool) -> None:
        """Go by the newest plan that was handed to this head or to one before it, and was not
        refused. `waits`: rows of an earlier head may be on their way, some by older plans.

        Raises `PlanRefused`, `OutputError`."""
        stored = await self._call(partial(self._stored.newest, uid=self.plan.uid, most=MOST))
        given = self.plan
        known = any(plan.generation == given.generation for plan in stored)
        if (
            # On a cluster the newest plan is mounted, whatever the head before has said to it.
            self._rolls
            and stored
            and stored[0].generation < given.generation
            and (why := await self._call(partial(self._stored.refusal, given)))
        ):
            self.refused = f"plan generation {given.generation} was refused: {why}"
            log.warning("%s; generation %d goes on", self.refused, stored[0].generation)
            given, known = stored[0], True
        self.generations = Generations(given)
        for plan in stored if waits else stored[:1]:
            self.generations.add(plan)
        self.plan = self.generations.newest
        check_plan(self.plan)
        if not known:
            await self._call(partial(self._stored.save, given))

    async def replace(
        self, plan: Plan, *, begun: int, offer: Callable[[str], Awaitable[list[str]]]
    ) -> None:
        """Let a newer plan take the place of the one in force. Raises `PlanRefused`: the old one
        goes on then.

        `begun`: rows that are accepted or on their way. `offer` asks all processes whether they
        could run by a plan (as JSON), and gives the lines of those who could not."""
        self._check_turn(plan, begun)
        try:
            check_plan(plan)
            if faults := await offer(plan.to_json()):
                raise PlanRefused("\n".join(faults))
        except PlanRefused as refused:
            with contextlib.suppress(OutputError):
                await self._call(partial(self._stored.refuse, plan, str(refused)))
            raise
        try:
            await self._call(partial(self._stored.save, plan))
        except OutputError as error:
            raise PlanRefused(f"the plan cannot be kept: {error}") from None
        self.plan = plan
        self.refused = ""
        self.generations.add(plan)

    def _check_turn(self, plan: Plan, begun: int) -> None:
        """Raises `PlanRefused` for a plan that the one in force cannot turn into."""
        now = self.plan
        if plan.pipeline != now.pipeline:
            raise PlanRefused(f"this head runs {now.pipeline!r}, not {plan.pipeline!r}")
        if plan.generation <= now.generation:
            raise PlanRefused(f"generation {plan.generation} is not newer than {now.generation}")
        faults = lasting(now, plan)
        if not self._rolls:
            faults += rolled(now, plan)
        if faults:
            raise PlanRefused("\n".join(map(str, faults)))
        target = plan.output.target_rows
        if target is not None and target != now.output.target_rows and begun > target:
            raise PlanRefused(
                f"spec.output.targetRows: {begun:,} rows are accepted or on their way, which "
                f"may be more than {target:,}; write {begun} or more"
            )


def check_plan(plan: Plan) -> None:
    """Raises `PlanRefused` for a plan whose conditions, prompts or tools do not compile."""
    try:
        Hops.check(plan)
        if plan.flow.priority:
            Priority(plan.flow.priority)
        if plan.flow.deadline:
            Deadline(plan.flow.deadline)
    except Exception as error:
        raise PlanRefused(" ".join(str(error).split())) from None
