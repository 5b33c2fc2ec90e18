"""Rows from the source into the protocol, as fast as there is room and no faster."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from weft.data.injected import Injected, InjectedRows
from weft.data.source import SourceRow, read
from weft.flow.conditions import ConditionError, Deadline, Priority
from weft.governance.make import source_gate_of
from weft.protocol.committed import CommittedRows
from weft.protocol.source import SourceNode
from weft.row import Row, encode_row
from weft_api.plan import Plan

if TYPE_CHECKING:
    from weft.governance.source import Admitted, SourceGate
    from weft.runtime.budget import Budget

CHUNK = 256
"""Rows read at once; as many wait in memory besides those in flight."""

log = logging.getLogger(__name__)


class Feed:
    """Reads in a thread. `run` goes on after the source's end, for rows that are injected."""

    def __init__(
        self,
        plan: Plan,
        storage_options: Mapping[str, str],
        done: CommittedRows,
        node: SourceNode,
        on_issue: Callable[[], None],
        injected: InjectedRows,
        budget: Budget,
    ) -> None:
        self._plan = plan
        self._gate = source_gate_of(plan)
        self._options = storage_options
        self._done = done
        self._node = node
        self._on_issue = on_issue
        self._injected = injected
        self._budget = budget
        self._batches = 0
        """Of the injected rows: so many have been begun."""
        self._room = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="source")
        self._priority: Priority | None = None
        self._deadline: Deadline | None = None
        self.update(plan)
        self.read = 0
        """Rows of the source seen so far, done ones included."""
        self._source_ended = False
        self.suspended = False
        """Issues nothing while true (the run drains)."""
        self.awaits_target = False
        """There is room, but all that `targetRows` wants is on its way: how it ends decides whether
        more is needed."""
        self.awaits_budget = False
        """There is room, but the budget bears no more rows, by what is known of it."""

    def update(self, plan: Plan) -> None:
        """Issue by this plan from now on. Its source is the same."""
        if plan.source_rules() != self._plan.source_rules():
            self._gate = source_gate_of(plan)
        self._plan = plan
        self._priority = Priority(plan.flow.priority) if plan.flow.priority else None
        self._deadline = Deadline(plan.flow.deadline) if plan.flow.deadline else None
        self._room.set()

    @property
    def exhausted(self) -> bool:
        """Every row that there is at the moment has been issued, or was done."""
        return self._source_ended and self._batches == self._injected.batches

    @property
    def begun(self) -> int:
        """Rows over the life of the output, those that have ended included."""
        return len(self._done) + len(self._node.outstanding)

    def room(self) -> None:
        """Rows have ended, or some were injected: there may be something to do."""
        self._room.set()

    async def run(self) -> None:
        """Issue all rows, and then those that are injected, until it is cancelled.

        Raises `SourceError` where the source fails as a whole, `OutputError` where injected rows
        cannot be read back."""
        loop = asyncio.get_running_loop()
        source = self._plan.source
        rows = islice(read(source, self._options), source.limit)
        while True:
            gate, chunk = await loop.run_in_executor(self._thread, self._take, rows)
            if not chunk:
                break
            for row, admitted in chunk:
                self.read += 1
                if row.ordinal in self._done:
                    continue
                if self._batches < self._injected.batches:
                    await self._begin_injected()
                while self.suspended or not self._may_begin(row.ordinal):
                    await self._wait()
                    await self._begin_injected()  # They go before the source's.
                if self._gate is not gate:  # Other rules hold than when the row was read.
                    admitted = await loop.run_in_executor(self._thread, _admit, self._gate, row)
                self._issue(row, admitted)
            self._on_issue()
            await asyncio.sleep(0)
        self._source_ended = True
        while True:
            await self._begin_injected()
            await self._wait()

    async def _begin_injected(self) -> None:
        """Issue the injected rows that wait."""
        loop = asyncio.get_running_loop()
        while self._batches < self._injected.batches:
            read = partial(self._read_injected, self._batches + 1)
            gate, batch = await loop.run_in_executor(self._thread, read)
            for row, admitted, asked in batch:
                if row.ordinal in self._done:
                    continue
                while self.suspended or not self._may_begin(row.ordinal):
                    await self._wait()
                if self._gate is not gate:
                    admitted = await loop.run_in_executor(self._thread, _admit, self._gate, row)
                self._issue(row, admitted, asked)
            self._batches += 1

    async def _wait(self) -> None:
        """Until something has changed."""
        self._room.clear()
        self._on_issue()
        await self._room.wait()

    def _may_begin(self, row: int) -> bool:
        """Whether there is room, and the target and the budget leave some."""
        node, target = self._node, self._plan.output.target_rows
        if not node.room():
            return False
        needed = node.needed(row, target, self._done.counts["accepted"])
        self.awaits_target = not needed
        most = self._budget.rows
        # A row that an earlier head has begun is counted already.
        borne = most is None or row in node.outstanding or self.begun < most
        self.awaits_budget = needed and not borne
        return needed and borne

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _take(
        self, rows: Iterator[SourceRow]
    ) -> tuple[SourceGate | None, list[tuple[SourceRow, Admitted | None]]]:
        """The next rows, held against the rules where there are any, and those rules. In the
        source's thread."""
        gate, done = self._gate, self._done
        return gate, [
            (row, None if row.ordinal in done else _admit(gate, row)) for row in islice(rows, CHUNK)
        ]

    def _read_injected(
        self, number: int
    ) -> tuple[SourceGate | None, list[tuple[SourceRow, Admitted | None, Injected]]]:
        """A batch of injected rows, held against the rules like the source's. In the thread."""
        gate = self._gate
        batch = self._injected.batch(number)
        return gate, [(row, _admit(gate, row), asked) for row, asked in batch]

    def _issue(
        self, source_row: SourceRow, admitted: Admitted | None, asked: Injected | None = None
    ) -> None:
        """`asked`: whose priority and deadline go before the pipeline's own."""
        row = admitted.row if admitted else Row(source_row.id, source_row.columns)
        now = time.monotonic()
        error = source_row.error
        given = asked.priority if asked else None
        due = asked.deadline if asked else None
        priority, deadline = given or 0, due or 0.0
        if not error and given is None and self._priority is not None:
            try:
                priority = self._priority.of(row)
            except ConditionError as failed:
                error = f"source.priority: {failed}"
        if not error and due is None and self._deadline is not None:
            try:
                allowed = self._deadline.of(row)
                deadline = 0.0 if allowed is None else time.time() + allowed
            except ConditionError as failed:
                error = f"source.deadline: {failed}"
        body = encode_row(row)
        if admitted is not None and admitted.end:
            self._node.bury(source_row.ordinal, body, admitted.reason, now, to=admitted.end)
        elif error:
            self._node.bury(source_row.ordinal, body, error, now)
        else:
            self._node.issue(source_row.ordinal, body, now, priority=priority, deadline=deadline)


def _admit(gate: SourceGate | None, row: SourceRow) -> Admitted | None:
    return None if gate is None else gate.admit(row)
