"""The machine that issues rows, bounds how many are on the way, and asks after the missing."""

from __future__ import annotations

from weft.protocol.census import Census
from weft.protocol.message import (
    DEAD,
    CensusAnswer,
    CensusAsk,
    Control,
    Done,
    Message,
    Over,
    SegmentItem,
    StillAsk,
)
from weft.protocol.node import Node
from weft.protocol.outbox import Retained
from weft.protocol.view import EMPTY_VIEW, View

ASK_AGAIN = 0.2
"""Seconds between the first census after a death and the second that must agree with it."""
ANSWER_WITHIN = 5.0
"""A census not answered by all members in these seconds is given up and held again."""


MAX_UNCOMMITTED = 8192
"""Rows that may wait at the writers besides those in flight: a commit must not stop the agents."""


class Outstanding:
    """A row issued and not committed yet. `body` is kept so that it can be issued again."""

    __slots__ = (
        "body",
        "deadline",
        "epoch",
        "issued",
        "kept",
        "missed",
        "plan",
        "priority",
        "reason",
        "to",
    )

    def __init__(
        self,
        body: bytes | None,
        epoch: int,
        now: float,
        *,
        to: str,
        priority: int = 0,
        deadline: float = 0.0,
        reason: str = "",
    ) -> None:
        self.body = body
        self.epoch = epoch
        self.issued = now
        self.to = to
        self.priority = priority
        self.deadline = deadline
        self.reason = reason
        self.plan = 0
        """Generation of the plan that it was issued by; 0 where an earlier source issued it."""
        self.missed = 0
        """Censuses in a row that found it nowhere."""
        self.kept: Retained | None = None
        """Our own copy of what was sent, settled or not."""


class SourceNode(Node):
    """Issues rows while there is room; tells what has ended.

    `room` says how many rows to `issue`; `ended` collects what the writers reported.
    """

    ask_every = 5.0
    """Seconds between censuses over rows that are outstanding for long, deaths or not: a row may
    have been dropped in favour of a lineage that has died meanwhile."""

    def __init__(
        self,
        incarnation: int,
        *,
        entry: str,
        generation: int,
        max_rows: int,
        max_bytes: int,
        max_uncommitted: int = MAX_UNCOMMITTED,
        seed: int = 0,
    ) -> None:
        """`generation`: higher than that of any source before (epochs start above theirs)."""
        super().__init__(incarnation, seed=seed)
        self.entry = entry
        self.plan = 0
        """Generation of the plan that rows are issued by from now on."""
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self.max_uncommitted = max_uncommitted
        self.outstanding: dict[int, Outstanding] = {}
        self.arrived: set[int] = set()
        """Outstanding rows that their writers have whole: no agent has work with them any more."""
        self.bytes = 0
        self.ended: list[Done] = []
        self.reissued = 0
        self._epoch = generation << 16
        self._census: Census | None = None
        self._numbers = 0
        self._ask_at = 0.0
        self._ask_all = False
        self._adopting = False

    def load(self) -> int:
        return 0

    @property
    def adopting(self) -> bool:
        """It does not know yet what an earlier source has on its way."""
        return self._adopting

    # issuing

    def room(self) -> bool:
        """Whether one more row may be issued."""
        return (
            not self._adopting
            and len(self.outstanding) - len(self.arrived) < self.max_rows
            and len(self.arrived) < self.max_uncommitted
            and (self.bytes < self.max_bytes or not self.outstanding)
        )

    def needed(self, row: int, target: int | None, accepted: int) -> bool:
        """Whether the row may be begun, where `target` accepted rows are wanted and `accepted` are
        known to be committed.

        Never are more rows on their way than may be accepted, so never are more accepted than are
        wanted. This holds though sources die and come twice, as long as each begins rows in the
        same order: what another one has begun comes first then, and is counted before any row is
        begun that it has not; and rows that were rejected stay so.
        """
        if target is None or row in self.outstanding:
            return True
        return accepted + len(self.outstanding) < target

    def issue(
        self, row: int, body: bytes, now: float, *, priority: int = 0, deadline: float = 0.0
    ) -> None:
        """Send a new row on its way. One that is on its way already only gets its body."""
        self._begin(
            row,
            Outstanding(
                body, self._epoch, now, to=self.entry, priority=priority, deadline=deadline
            ),
            now,
        )

    def bury(self, row: int, body: bytes, reason: str, now: float, *, to: str = DEAD) -> None:
        """A row that is not even to start goes straight to its writer, as dead or rejected."""
        self._begin(row, Outstanding(body, self._epoch, now, to=to, reason=reason), now)

    def adopt(self, now: float) -> None:
        """A new source among living agents: ask what is on its way before issuing anything."""
        self._adopting = True
        self._ask_at = now

    # membership and time

    def apply_view(self, view: View, now: float) -> None:
        before = set(self.view.by_incarnation)
        super().apply_view(view, now)
        if before - set(view.by_incarnation):
            self.arrived.clear()
            self._ask_soon(now)

    def tick(self, now: float) -> None:
        super().tick(now)
        if self._census is not None and now - self._census.started > ANSWER_WITHIN:
            self._ask_soon(now)
        if self._census is None and now >= self._ask_at:
            self._ask(None if self._adopting else self._suspects(now), now)

    def _ask_soon(self, now: float) -> None:
        """Ask after everything at the next tick."""
        self._census = None
        self._ask_all = True
        self._ask_at = now

    def _suspects(self, now: float) -> set[int]:
        if self._ask_all:
            return set(self.outstanding)
        return {
            row
            for row, outstanding in self.outstanding.items()
            if outstanding.missed or now - outstanding.issued > self.ask_every
        }

    def _ask(self, rows: set[int] | None, now: float) -> None:
        if self.view is EMPTY_VIEW:
            return
        # One that cannot be reached is not waited for: what only it holds is issued again.
        members = {
            member.incarnation
            for member in self.view.members
            if member.role != "source" and member.incarnation not in self._avoid
        }
        self._ask_at = now + self.ask_every
        self._ask_all = False
        if rows is not None and not rows:
            return
        self._numbers += 1
        census = Census(self._numbers, rows, members, now)
        if not members:
            self._conclude(census, now)
            return
        self._census = census
        ask = CensusAsk(self._numbers, None if rows is None else sorted(rows))
        for member in members:
            link = self._link(member, now)
            link.send_control(ask)
            self._dirty[member] = link

    def _take_control(self, peer: int, control: Control, now: float) -> None:
        if isinstance(control, StillAsk):
            self._tell_over(peer, control, now)
        if not isinstance(control, CensusAnswer):
            return
        for done in control.done:
            self._take_done(done, now)
        census = self._census
        if census is not None and census.answer(peer, control):
            self._census = None
            self._conclude(census, now)

    def _tell_over(self, peer: int, asked: StillAsk, now: float) -> None:
        if self._adopting:
            return
        over = [
            (row, epoch)
            for row, epoch in asked.rows
            # A row that is not outstanding has ended, or will be begun with a higher epoch.
            if (outstanding := self.outstanding.get(row)) is None or outstanding.epoch > epoch
        ]
        if over:
            link = self._link(peer, now)
            link.send_control(Over(over))
            self._dirty[peer] = link

    def _conclude(self, census: Census, now: float) -> None:
        if census.rows is None:
            self._adopt(census, now)
        else:
            self._judge(census, now)

    def _adopt(self, census: Census, now: float) -> None:
        self._adopting = False
        for row, epoch in census.held.items():
            if row not in self.outstanding:
                self.outstanding[row] = Outstanding(None, epoch, now, to=self.entry)

    def _judge(self, census: Census, now: float) -> None:
        ours = {kept.message.row for kept in self.outbox.messages.values()}
        missing = census.missing() - ours
        for row in census.rows or ():
            outstanding = self.outstanding.get(row)
            if outstanding is None:
                continue
            if row not in missing:
                outstanding.missed = 0
            elif outstanding.missed == 0:
                outstanding.missed = 1
                self._ask_at = now + ASK_AGAIN
            elif outstanding.body is not None:
                outstanding.missed = 0
                self._issue_again(row, outstanding, now)
            else:
                # Adopted and lost before the reader has come by it: it will be issued as a new one.
                del self.outstanding[row]
                self.arrived.discard(row)

    def _issue_again(self, row: int, outstanding: Outstanding, now: float) -> None:
        outstanding.epoch = max(self._epoch, outstanding.epoch) + 1
        outstanding.issued = now
        self.reissued += 1
        self.arrived.discard(row)
        self._send_row(row, outstanding, now)

    def _begin(self, row: int, outstanding: Outstanding, now: float) -> None:
        known = self.outstanding.get(row)
        if known is not None and known.body is not None:
            return
        self.outstanding[row] = outstanding
        self.bytes += len(outstanding.body or b"")
        if known is None:
            self._send_row(row, outstanding, now)
        else:
            outstanding.epoch = known.epoch
            outstanding.issued = known.issued
            outstanding.missed = known.missed

    def _send_row(self, row: int, outstanding: Outstanding, now: float) -> None:
        assert outstanding.body is not None
        outstanding.plan = self.plan
        message = Message(
            row,
            outstanding.epoch,
            0,
            0,
            outstanding.to,
            0,
            outstanding.body,
            plan=self.plan,
            priority=outstanding.priority,
            deadline=outstanding.deadline,
            reason=outstanding.reason,
        )
        outstanding.kept = self._dispatch(message, None, now)

    def _take_done(self, done: Done, now: float) -> None:
        if not done.status:
            if done.row in self.outstanding:
                self.arrived.add(done.row)
            return
        self.arrived.discard(done.row)
        outstanding = self.outstanding.pop(done.row, None)
        if outstanding is not None:
            self.bytes -= len(outstanding.body or b"")
            self.ended.append(done)
            if outstanding.kept is not None:
                # Another lineage has won; this one need not be sent again when its holder dies.
                self.outbox.settle([outstanding.kept.message.ref])

    def _take_message(self, peer: int, message: Message, now: float) -> None:
        raise AssertionError("no step leads to the source")

    def _take_segment(self, peer: int, segment: SegmentItem, now: float) -> None:
        raise AssertionError("segments go to writers")
