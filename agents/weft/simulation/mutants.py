"""Planted bugs: each a small change of one machine that the oracle must find.

They show that the simulator can fail. Some cost rows, some cost only work: those are found by the
order per row, or by rows that start again where nothing but one process has died.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from weft.protocol.agent import AgentNode
from weft.protocol.census import Census
from weft.protocol.directory import Directory, Joining
from weft.protocol.inbox import Fence, Work
from weft.protocol.join import Joins
from weft.protocol.link import Link
from weft.protocol.message import CensusAnswer, Control, Frame, Lane, Message, SegmentItem
from weft.protocol.node import Node
from weft.protocol.outbox import Parent, Retained, RetainedSegment
from weft.protocol.source import Outstanding, SourceNode
from weft.protocol.view import View
from weft.protocol.writer import Batch, Finished, WriterNode, _Pending
from weft.simulation.machines import Machines
from weft.simulation.table import Table, Ticket

MORE = "more work"


@dataclass(frozen=True)
class Mutant:
    """`mix`: the kind of schedules that shows it soonest."""

    machines: Machines
    mix: str
    says: str
    """How the oracle's verdict begins; `MORE` where no single schedule shows it, and all together
    take more work than without the bug."""


MUTANTS: dict[str, Mutant] = {}


def _everywhere(mixin: type) -> Machines:
    """All nodes with the mixin in front of them."""
    return Machines(
        agent=type("MutantAgent", (mixin, AgentNode), {}),
        source=type("MutantSource", (mixin, SourceNode), {}),
        writer=type("MutantWriter", (mixin, WriterNode), {}),
    )


# what a receiver says to its sender


class _SettlesAtAcceptance(AgentNode):
    def _take_message(self, peer: int, message: Message, now: float) -> None:
        super()._take_message(peer, message, now)
        self._settle(peer, message.ref)


class _SelfSendSettles(AgentNode):
    def _keep(self, message: Message, parent: Parent | None, now: float) -> None:
        if parent is not None:
            self._settle(parent.sender, parent.ref)
        super()._keep(message, None, now)


class _WriterSettlesAtArrival(WriterNode):
    def _take_message(self, peer: int, message: Message, now: float) -> None:
        super()._take_message(peer, message, now)
        self._settle(peer, message.ref)


class _WriterSettlesSegmentsAtArrival(WriterNode):
    def _take_segment(self, peer: int, segment: SegmentItem, now: float) -> None:
        super()._take_segment(peer, segment, now)
        self._settle(peer, segment.ref)


# fences and tags


class _NoFence(Fence):
    __slots__ = ()

    def admit(self, lane: Lane, tag: int) -> bool:
        return True

    def passed(self, lane: Lane, tag: int) -> bool:
        return False


class _AgentWithoutFence(AgentNode):
    def __init__(self, incarnation: int, **more) -> None:  # type: ignore[no-untyped-def]
        super().__init__(incarnation, **more)
        self.fence = _NoFence(1)


class _EpochNotRaised(SourceNode):
    def _issue_again(self, row: int, outstanding: Outstanding, now: float) -> None:
        outstanding.issued = now
        self.reissued += 1
        self._send_row(row, outstanding, now)


# links


class _DoublesTaken(Link):
    __slots__ = ()

    def receive(self, frame: Frame) -> tuple[list[Frame], bool]:
        acknowledged, fresh = super().receive(frame)
        return acknowledged, fresh or 0 < frame.seq <= self._received


class _GapsTaken(Link):
    __slots__ = ()

    def receive(self, frame: Frame) -> tuple[list[Frame], bool]:
        if frame.seq > self._received:
            self._received = frame.seq - 1
        return super().receive(frame)


class _NeverSentAgain(Link):
    __slots__ = ()

    def tick(self, now: float) -> bool:
        return False


class _ForgetsOnBreak(Link):
    __slots__ = ()

    def connect(self, now: float) -> None:
        super().connect(now)
        self._resend.clear()
        self._unacked.clear()


def _with_link(link: type[Link]) -> Machines:
    return _everywhere(type("WithLink", (), {"link_type": link}))


# what is kept, and sent again


class _NotTakenBack:
    def _take_back(self, kepts: Iterable[Retained], *, crashed: bool) -> None:
        pass


class _SegmentsNotSentAgain(AgentNode):
    def _send_segment(self, kept: RetainedSegment, now: float) -> None:
        if not kept.target:
            super()._send_segment(kept, now)


class _SendsToItself(AgentNode):
    def _pass_on(self, work: Work, target: int, now: float, *, borrowed: bool = False) -> None:
        self._dispatch(work.message, work.parent, now)

    def _send(self, kept: Retained, target: int, now: float) -> None:
        Node._send(self, kept, target, now)


# rows that kill


class _BlamesAll:
    def _take_back(self, kepts: Iterable[Retained], *, crashed: bool) -> None:
        kepts = list(kepts)
        for kept in kepts:
            kept.in_hand = crashed
        super()._take_back(kepts, crashed=crashed)  # type: ignore[misc]


class _SuspectsAmongTheRest(AgentNode):
    def _queue(self, work: Work) -> None:
        self.inbox.push(work)


# the census and the source


class _BelievesFirstMiss(SourceNode):
    def _judge(self, census: Census, now: float) -> None:
        for row in census.missing():
            if row in self.outstanding:
                self.outstanding[row].missed = 1
        super()._judge(census, now)


class _AsksOnlyAfterDeaths(SourceNode):
    def _suspects(self, now: float) -> set[int]:
        return super()._suspects(now) if self._ask_all else set()


class _NeverAsks(SourceNode):
    def _ask(self, rows: set[int] | None, now: float) -> None:
        if rows is None:
            super()._ask(rows, now)


class _AdoptsNothing(SourceNode):
    def adopt(self, now: float) -> None:
        pass

    def __init__(self, incarnation: int, **more) -> None:  # type: ignore[no-untyped-def]
        super().__init__(incarnation, **{**more, "generation": 1})


class _NoBound(SourceNode):
    def room(self) -> bool:
        return not self._adopting


# divided rows


class _MixedJoins(Joins):
    """Branches are joined whichever division they are of."""

    __slots__ = ()

    def add(self, work: Work, now: float) -> tuple[list[Work], Work | None]:
        message = work.message
        if message.branch is not None and (known := self._sets.get(message.row)) is not None:
            epoch, fork, hop = known[0]
            message.epoch = epoch
            message.branch = msgspec.structs.replace(message.branch, fork=fork, hop=hop)
        return super().add(work, now)


class _MixesDivisions(AgentNode):
    def __init__(self, incarnation: int, **more) -> None:  # type: ignore[no-untyped-def]
        super().__init__(incarnation, **more)
        self.joins = _MixedJoins()


class _SettlesBranchesAtJoin(AgentNode):
    def _join(self, work: Work, now: float) -> None:
        if work.parent is not None:
            self._free(work.parent)
            work.parent = None
        super()._join(work, now)


class _NeverAsksAfterBranches(AgentNode):
    def tick(self, now: float) -> None:
        Node.tick(self, now)
        self._replace_joins(now)


class _BranchesStay(AgentNode):
    def _replace_joins(self, now: float) -> None:
        pass


class _OneBranchIsTheRow(SourceNode):
    def _take_control(self, peer: int, control: Control, now: float) -> None:
        if isinstance(control, CensusAnswer):
            control.held += [(branch.row, branch.epoch) for branch in control.branches]
        super()._take_control(peer, control, now)


# the writer


class _DoneLost(WriterNode):
    def _tell_source(self, row: int, now: float) -> None:
        pass

    def _take_control(self, peer: int, control: Control, now: float) -> None:
        super()._take_control(peer, control, now)
        for said in self._link(peer, now)._control:
            if isinstance(said, CensusAnswer):
                said.done = []


class _ForgetsCommitted(WriterNode):
    def __init__(self, incarnation: int, **more) -> None:  # type: ignore[no-untyped-def]
        more["committed"] = type(more["committed"])()
        super().__init__(incarnation, **more)


class _ForgetsAlready(WriterNode):
    def committed(self, batch: Batch, now: float, *, already: frozenset[int] = frozenset()) -> None:
        _, chosen = self.in_commit.pop(batch.partition)
        for finished in batch.rows:
            if finished.row not in already:
                self.done_rows.add(finished.row, finished.status)
            self._release(finished.row, chosen[finished.row], now)

    def _tell_source(self, row: int, now: float) -> None:
        if self.done_rows.status(row):
            super()._tell_source(row, now)


class _DoesNotWaitForSegments(WriterNode):
    def _finish(self, row: int, kept: _Pending) -> Finished:
        here = self._segments.get(row, {})
        named = kept.message.segments
        pairs = list(zip(named[::2], named[1::2], strict=True))
        kept.message.segments = [n for pair in pairs if pair in here for n in pair]
        return super()._finish(row, kept)

    def _take_message(self, peer: int, message: Message, now: float) -> None:
        super()._take_message(peer, message, now)
        pending = self.waiting.pop(message.row, None)
        if pending is not None:
            partition = message.row % self.partitions
            self._make_ready(partition, message.row, pending, now)


class _SegmentsKept(WriterNode):
    """The segments of lineages that lost are not let go."""

    def _release(self, row: int, kept: _Pending, now: float) -> None:
        named = set(zip(kept.message.segments[::2], kept.message.segments[1::2], strict=True))
        mine = self._segments.get(row, {})
        for key in [key for key in mine if key not in named]:
            del mine[key]
        super()._release(row, kept, now)


# the directory


class _NoHigh(Directory):
    def view(self, now: float) -> View | None:
        view = super().view(now)
        return None if view is None else msgspec.structs.replace(view, high=0)


class _NoLease(Directory):
    def tick(self, now: float) -> list:  # type: ignore[type-arg]
        return []


class _Revives(Directory):
    def _heed(self, view: View | None) -> None:
        pass


class _TakesAnyoneBack(Directory):
    """A dead process that comes back keeps its incarnation."""

    def join(self, joining: Joining, now: float):  # type: ignore[no-untyped-def]
        known = joining.incarnation
        member = super().join(joining, now)
        if member is None and known and joining.role == "agent":
            fresh = super().join(msgspec.structs.replace(joining, incarnation=0), now)
            assert fresh is not None
            self.leave(fresh.incarnation)
            member = msgspec.structs.replace(fresh, incarnation=known)
            self._members[known] = member
            self._alive_until[known] = now + self.lease
        return member


# the table


class _NumberNotChecked(Machines):
    def advance(
        self, table: Table, partition: int, old: Ticket, new: Ticket, rows: Sequence[Finished]
    ) -> Ticket:
        return table.advance(partition, table.newest[partition], new, rows)


class _ZombieNotRefused(Machines):
    """The number of the commit is checked, and not who commits."""

    def advance(
        self, table: Table, partition: int, old: Ticket, new: Ticket, rows: Sequence[Finished]
    ) -> Ticket:
        if table.newest[partition][0] != old[0]:
            old = table.newest[partition]
        return table.advance(partition, old, new, rows)


MUTANTS |= {
    "settles at acceptance": Mutant(Machines(agent=_SettlesAtAcceptance), "one death", "work"),
    "a message to itself settles its parent": Mutant(
        Machines(agent=_SelfSendSettles), "one death", "work"
    ),
    "writer settles at arrival": Mutant(
        Machines(writer=_WriterSettlesAtArrival), "one death", "work"
    ),
    "writer settles segments at arrival": Mutant(
        Machines(writer=_WriterSettlesSegmentsAtArrival), "one death", "work"
    ),
    "no fence": Mutant(Machines(agent=_AgentWithoutFence), "all", "order"),
    "epoch not raised": Mutant(Machines(source=_EpochNotRaised), "deaths", "lost"),
    "frames taken twice": Mutant(_with_link(_DoublesTaken), "one death", "work"),
    "frames taken over a gap": Mutant(_with_link(_GapsTaken), "network", ""),
    "lost frames not sent again": Mutant(_with_link(_NeverSentAgain), "network", ""),
    "a new connection forgets what the old one had": Mutant(
        _with_link(_ForgetsOnBreak), "network", ""
    ),
    "nothing taken back from the dead": Mutant(_everywhere(_NotTakenBack), "one death", "lost"),
    "segments not sent again": Mutant(Machines(agent=_SegmentsNotSentAgain), "one death", ""),
    "sends to itself": Mutant(Machines(agent=_SendsToItself), "calm", "link"),
    "census believes the first miss": Mutant(Machines(source=_BelievesFirstMiss), "network", MORE),
    "asks only after deaths": Mutant(Machines(source=_AsksOnlyAfterDeaths), "all", ""),
    "never asks": Mutant(Machines(source=_NeverAsks), "deaths", "lost"),
    "adopts nothing, and starts its epochs anew": Mutant(
        Machines(source=_AdoptsNothing), "head", MORE
    ),
    "a death is laid to all that a process had": Mutant(
        _everywhere(_BlamesAll), "poison", "innocent"
    ),
    "suspects are handled among the rest": Mutant(
        Machines(agent=_SuspectsAmongTheRest), "poison", ""
    ),
    "branches of two divisions are joined": Mutant(Machines(agent=_MixesDivisions), "deaths", ""),
    "a branch is settled when it comes to its join": Mutant(
        Machines(agent=_SettlesBranchesAtJoin), "one death", "work"
    ),
    "branches of lost lineages are not asked after": Mutant(
        Machines(agent=_NeverAsksAfterBranches), "all", ""
    ),
    "branches stay where they came to": Mutant(Machines(agent=_BranchesStay), "change", ""),
    "census takes a branch for the row": Mutant(
        Machines(source=_OneBranchIsTheRow), "deaths", "lost"
    ),
    "no bound": Mutant(Machines(source=_NoBound), "calm", "bound"),
    "done lost for ever": Mutant(Machines(writer=_DoneLost), "calm", ""),
    "writer forgets what is committed": Mutant(
        Machines(writer=_ForgetsCommitted), "writers", "twice"
    ),
    "writer forgets what came in after all": Mutant(
        Machines(writer=_ForgetsAlready), "writers", ""
    ),
    "writer does not wait for segments": Mutant(
        Machines(writer=_DoesNotWaitForSegments), "calm", "segments"
    ),
    "segments of lost lineages kept": Mutant(Machines(writer=_SegmentsKept), "all", "kept"),
    "views without the highest incarnation": Mutant(Machines(directory=_NoHigh), "one death", ""),
    "leases never run out": Mutant(Machines(directory=_NoLease), "one death", ""),
    "a new head revives the dead": Mutant(Machines(directory=_Revives), "head", ""),
    "the dead come back as they were": Mutant(Machines(directory=_TakesAnyoneBack), "deaths", ""),
    "commit number not checked": Mutant(_NumberNotChecked(), "writers", "twice"),
    "zombie's commit not refused": Mutant(_ZombieNotRefused(), "writers", "twice"),
}
