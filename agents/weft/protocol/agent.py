"""The machine of an agent process: takes messages in, hands them out as work, sends on what came of
them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from weft.protocol.inbox import Fence, Inbox, Work
from weft.protocol.join import Joins, divided
from weft.protocol.message import (
    DEAD,
    ENDS,
    CensusAnswer,
    CensusAsk,
    Control,
    Done,
    HeldBranch,
    InHand,
    Message,
    Over,
    SegmentItem,
    StillAsk,
)
from weft.protocol.node import Node
from weft.protocol.outbox import Parent, Retained
from weft.protocol.quarantine import SUSPECT, Quarantine
from weft.protocol.view import View

FENCE_ROWS = 16_384
"""Rows remembered by the fence: well above the rows in flight that a source admits by default."""


class AgentNode(Node):
    """Inbox, work in hand, outbox.

    `take` hands out work; `complete`, `divide`, `retry` or `lose` says what came of it.
    """

    def __init__(
        self,
        incarnation: int,
        *,
        step: str,
        seed: int = 0,
        fence_rows: int = FENCE_ROWS,
        max_crashes: int = 4,
    ) -> None:
        super().__init__(incarnation, seed=seed)
        self.step = step
        self.inbox = Inbox()
        self.quarantine = Quarantine()
        self.joins = Joins()
        self._joins_placed: object = None
        """What decided where branches come together when those here were last looked at."""
        self.fence = Fence(fence_rows)
        self.in_work: dict[Work, None] = {}
        """A set that keeps its order, so that equal runs are equal."""
        self.max_crashes = max_crashes
        self.closed = False
        """Nothing more is begun here."""

    def load(self) -> int:
        return len(self.inbox) + len(self.in_work) + len(self.quarantine)

    def ready(self) -> bool:
        """Whether `take` may have something (it may have to be asked to get on)."""
        suspects = self.quarantine
        if self.closed:
            return False
        if not suspects:
            return len(self.inbox) > 0
        return not self.in_work or suspects.take(self.in_work) is not None

    def take(self, now: float) -> Work | None:
        """The most urgent message that is still worth doing, or None."""
        if self.closed:
            return None
        if self.quarantine:
            return self._take_suspect()
        while (work := self.inbox.pop()) is not None:
            message = work.message
            if self.fence.passed(work.lane, work.tag):
                self._drop(work)
            elif message.crashes > self.max_crashes and message.part is None:
                message.reason = self.too_many_crashes(message)
                self.complete(work, DEAD, message.body, None, now)
            else:
                self.in_work[work] = None
                return work
        return None

    def complete(
        self,
        work: Work,
        to: str,
        body: bytes,
        segment: bytes | None,
        now: float,
        *,
        reason: str = "",
        pins: Mapping[str, str] | None = None,
    ) -> bool:
        """The hop is done: the row goes on to `to` with this body, the segment to its writer. A
        branch that comes to its end goes to its join. False: all that was in vain."""
        if not self._finish(work, segment, now):
            return False
        message = work.message
        if message.homes or len(self.view.by_step.get(self.step, ())) > 1:
            message.homes = {**message.homes, self.step: self.incarnation}
        if pins:
            message.pins = {**message.pins, **pins}
        message.hop += 1
        message.to = to
        message.body = body
        message.part = None
        if (branch := message.branch) is not None and to in ENDS:
            message.branch = replace(branch, end=to)
            message.to = branch.join
            message.attempts = message.crashes = 0
        elif to != DEAD:
            # The hop has proved harmless; and what went wrong with a dead row stays on record.
            message.attempts = message.crashes = 0
        if reason:
            message.reason = reason
        self._pass_on(work, self._target_of(message), now)
        return True

    def divide(
        self,
        work: Work,
        ways: Sequence[tuple[str, bytes]],
        join: str,
        body: bytes,
        segment: bytes | None,
        now: float,
    ) -> bool:
        """The hop is done, and the row goes on in branches, each to its step with its body; itself
        it waits, with `body`, at the step `join`. False: all that was in vain."""
        if not self._finish(work, segment, now):
            return False
        parts = divided(work.message, body, ways, join)
        if work.parent is not None:
            work.parent.open += len(parts) - 1
        for part in parts:
            self._pass_on(Work(part, work.parent, part.lane, part.tag), self._target_of(part), now)
        return True

    def _finish(self, work: Work, segment: bytes | None, now: float) -> bool:
        """Whether the hop takes effect; its segment is on its way then."""
        self._put_down(work)
        message = work.message
        if self.fenced_off:
            return False
        if self.fence.passed(work.lane, work.tag):
            # Another lineage of the row has come by since: what was done here must take no effect.
            self._drop(work)
            return False
        if segment is not None:
            if work.parent is not None:
                # Were the parent settled before the writer has this, our death would lose it.
                work.parent.open += 1
            kept = self.outbox.retain_segment(message.row, segment, work.parent)
            message.segments = [*message.segments, self.incarnation, kept.item.ref]
            self._send_segment(kept, now)
        return True

    @staticmethod
    def too_many_crashes(message: Message) -> str:
        """The reason of a row that is given up because it seems to kill who handles it."""
        return (
            f"{message.crashes} processes died with this row in their hands, the last in "
            f"step {message.to}"
        )

    def lose(self, work: Work) -> None:
        """The row's body has died with its holder: nobody has it, as a census will find."""
        self._put_down(work)
        self._drop(work)

    def retry(self, work: Work) -> None:
        """The hop failed and is worth another attempt here."""
        self._put_down(work)
        work.message.attempts += 1
        self._queue(work)

    def hand_back(self, now: float) -> None:
        """Leaving: what has not been begun goes to another instance of the step, if any, now and
        from now on."""
        self._avoid.add(self.incarnation)
        works = self.inbox.works() + self.quarantine.waiting()
        self.inbox = Inbox()
        for work in works:
            message = work.message
            if self.fence.passed(work.lane, work.tag):
                self._drop(work)
                continue
            target = self._target_of(message)
            if target in (0, self.incarnation):
                self._queue(work)
            elif work.branches:
                self._move_branches(work.branches, now)
            elif message.part is not None:
                # A part is dropped by its holder once the message has been passed on: stay with it.
                self._queue(work)
            else:
                # Above our own fence, should it come back here.
                message.fork += 1
                self._pass_on(work, target, now)
        self._replace_joins(now)

    def alone(self) -> bool:
        """Whether nobody else serves the step, or all others leave as well."""
        return not any(
            member.step == self.step
            and member.incarnation != self.incarnation
            and not member.draining
            for member in self.view.members
        )

    def close(self) -> None:
        """Leaving, and nobody else serves the step: begin nothing more. Whoever sent what waits
        here has it still, and is told, once, that it was not in our hands."""
        if self.closed:
            return
        self.closed = True
        for work in (*self.inbox.works(), *self.quarantine.works(), *self.joins.works()):
            if work not in self.in_work:
                self._leave_to_holder(work)

    def may_leave(self) -> bool:
        """Closed, and nothing of what is held here is lost with us: each row that waits has its
        holder, and what came of those begun has gone out."""
        return (
            self.closed
            and not self.in_work
            and not any(link.queued() or link.unacknowledged() for link in self.links.values())
        )

    def idle(self) -> bool:
        """Nothing waits, nothing is in work, nobody needs what was sent, and every segment has
        reached its writer: free to leave. (A segment is kept until its row is committed, but a row
        can be long on its way; should the writer die as well, the row is issued again.)"""
        return not (
            len(self.inbox)
            or self.quarantine
            or self.in_work
            or self.joins
            or any(self._needs_us(kept) for kept in self.outbox.messages.values())
            or any(not kept.target for kept in self.outbox.segments.values())
            or any(link.queued() or link.unacknowledged() for link in self.links.values())
        )

    def _needs_us(self, kept: Retained) -> bool:
        """Whether a message would be with less than two, were we gone."""
        if kept.parent is None or not (kept.borrowed and kept.accepted):
            return True
        return any(self.view.is_dead(sender) for sender, _ in kept.parent.holders())

    def messages_held(self) -> Iterator[Message]:
        """All that this process holds in any way."""
        for work in (*self.in_work, *self.inbox.works(), *self.quarantine.works()):
            yield work.message
        for work in self.joins.works():
            yield work.message
        for kept in self.outbox.messages.values():
            yield kept.message

    def _pass_on(self, work: Work, target: int, now: float, *, borrowed: bool = False) -> None:
        if target == self.incarnation:
            self._keep(work.message, work.parent, now)
            return
        if self.parts is not None:
            self.parts.stow(work.message)
        kept = self.outbox.retain(work.message, work.parent)
        kept.borrowed = borrowed
        super()._send(kept, target, now)  # Not to ourselves: that is seen to above.

    def _send(self, kept: Retained, target: int, now: float) -> None:
        if target == self.incarnation:
            # What another instance of our step held may come to us.
            del self.outbox.messages[kept.message.ref]
            self._keep(kept.message, kept.parent, now)
        else:
            super()._send(kept, target, now)

    def _keep(self, message: Message, parent: Parent | None, now: float) -> None:
        """To ourselves: one process would hold the row alone, so the sender before us keeps his
        copy until the row has moved on."""
        lane, tag = message.lane, message.tag
        if self.fence.admit(lane, tag):
            self._admitted(Work(message, parent, lane, tag), now)
        elif parent is not None:
            self._free(parent)

    def apply_view(self, view: View, now: float) -> None:
        super().apply_view(view, now)
        self.quarantine.heard(lambda sender, _: view.is_dead(sender))
        self._replace_joins(now)

    def tick(self, now: float) -> None:
        super().tick(now)
        if not self.joins:
            return
        self._replace_joins(now)
        source = self.view.source
        if source and (rows := self.joins.to_ask(now)):
            link = self._link(source, now)
            link.send_control(StillAsk(rows))
            self._dirty[source] = link

    # branches

    def _admitted(self, work: Work, now: float) -> None:
        if work.message.branch is not None and work.message.at_join:
            self._join(work, now)
        else:
            self._queue(work)

    def _join(self, work: Work, now: float) -> None:
        void, row = self.joins.add(work, now)
        for lost in void:
            self._drop(lost)
        if row is None:
            if self._target_of(work.message) != self.incarnation:
                # Looked at again with the next tick: meanwhile our view, or the sender's, may be
                # the one that the other has.
                self._joins_placed = None
            if self.closed:
                self._leave_to_holder(work)
        elif self.fence.admit(row.message.row, row.tag):
            self._queue(row)
        else:
            self._drop(row)

    def _replace_joins(self, now: float) -> None:
        """Branches come together at one place, which follows from the view. Those who sent ours may
        have had another view: hand on what belongs elsewhere by now."""
        place = (self.view.version, frozenset(self._avoid))
        if self.joins and place != self._joins_placed and not self.fenced_off:
            self._joins_placed = place
            self._move_branches(self.joins.withdraw(), now)

    def _move_branches(self, works: Iterable[Work], now: float) -> None:
        for work in works:
            target = self._target_of(work.message)
            if target in (0, self.incarnation):
                self._join(work, now)
            else:
                # They may wait there for long, and we may want to leave: whoever sent them to us
                # keeps his copy meanwhile.
                work.message.fork += 1
                self._pass_on(work, target, now, borrowed=True)

    # suspects

    def _leave_to_holder(self, work: Work) -> None:
        self._tell(work, in_hand=False)

    def _queue(self, work: Work) -> None:
        if self.closed:
            self._leave_to_holder(work)
        if SUSPECT <= work.message.crashes <= self.max_crashes:
            self.quarantine.add(work)
        else:
            self.inbox.push(work)

    def _put_down(self, work: Work) -> None:
        self.in_work.pop(work, None)
        if self.quarantine.done(work):
            self._tell_holder(work, in_hand=False)

    def _take_suspect(self) -> Work | None:
        """One whose holder knows; nothing else is handed out until all suspects are done."""
        suspects = self.quarantine
        if not self.in_work:
            self._next_suspects()
        work = suspects.take(self.in_work)
        if work is not None:
            self.in_work[work] = None
        return work

    def _next_suspects(self) -> None:
        suspects = self.quarantine
        for work in suspects.begin():
            self._tell_holder(work, in_hand=True)
            if self.fence.passed(work.lane, work.tag):
                self._put_down(work)
                self._drop(work)

    def _tell_holder(self, work: Work, *, in_hand: bool) -> None:
        self.quarantine.telling(work, self._tell(work, in_hand=in_hand))

    def _tell(self, work: Work, *, in_hand: bool) -> set[tuple[int, int]]:
        """Tells all who keep a copy (of a joined row: of its branches). Gives those it could."""
        told: set[tuple[int, int]] = set()
        for sender, ref in work.parent.holders() if work.parent is not None else ():
            if (link := self.links.get(sender)) is not None:
                link.send_control(InHand(ref, in_hand))
                self._dirty[sender] = link
                told.add((sender, ref))
        return told

    def _holder_knows(self, holder: int, ref: int) -> None:
        self.quarantine.heard(lambda sender, number: (sender, number) == (holder, ref))

    def _drop(self, work: Work) -> None:
        """Another lineage of the row is further on."""
        if work.parent is not None:
            self._free(work.parent)

    def _take_message(self, peer: int, message: Message, now: float) -> None:
        lane, tag = message.lane, message.tag
        if self.fence.admit(lane, tag):
            self._admitted(Work(message, Parent(peer, message.ref), lane, tag), now)
        else:
            self._settle(peer, message.ref)

    def _take_control(self, peer: int, control: Control, now: float) -> None:
        if isinstance(control, CensusAsk):
            link = self._link(peer, now)
            link.send_control(self._answer(control))
            self._dirty[peer] = link
        elif isinstance(control, Over):
            for row, epoch in control.rows:
                for work in self.joins.drop(row, epoch):
                    self._drop(work)

    def _answer(self, ask: CensusAsk) -> CensusAnswer:
        wanted = None if ask.rows is None else set(ask.rows)
        whole: dict[int, int] = {}
        branches: list[HeldBranch] = []
        for message in self.messages_held():
            row, branch = message.row, message.branch
            if wanted is not None and row not in wanted:
                continue
            if branch is None:
                whole[row] = max(message.epoch, whole.get(row, 0))
            else:
                branches.append(
                    HeldBranch(
                        row, message.epoch, branch.fork, branch.hop, branch.index, branch.count
                    )
                )
        return CensusAnswer(ask.number, list(whole.items()), [], branches)

    def _take_segment(self, peer: int, segment: SegmentItem, now: float) -> None:
        raise AssertionError("segments go to writers")

    def _take_done(self, done: Done, now: float) -> None:
        raise AssertionError("the end of a row is told to the source")
