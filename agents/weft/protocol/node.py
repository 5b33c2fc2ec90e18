"""What every process on the data path does: links to its peers, an outbox, the view it acts on.

A row is held by two processes at any time: whoever has it in hand, and the one before, who keeps
his copy until the receiver's results have been accepted by yet another process, or are committed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from copy import copy
from typing import Protocol

from weft.protocol.link import Link
from weft.protocol.message import (
    ENDS,
    FORK_STEP,
    Control,
    Done,
    Frame,
    InHand,
    Message,
    Part,
    SegmentItem,
)
from weft.protocol.outbox import Outbox, Parent, Retained, RetainedSegment
from weft.protocol.quarantine import SUSPECT
from weft.protocol.router import choose, meeting_place
from weft.protocol.view import EMPTY_VIEW, View


class Parts(Protocol):
    """Keeps large bodies out of the frames, until those who get the messages ask for them."""

    def stow(self, message: Message) -> None:
        """Put a large body aside; the message then names it by `part`."""

    def drop(self, part: Part) -> None:
        """Its message is settled: nobody will ask any more. Not ours: nothing happens."""


class Node:
    """Base of the roles. Subclasses take in messages (`_take_message`), segments and control."""

    link_type = Link
    unreachable_after = 15.0
    """Seconds without a connection after which what a peer holds for us is sent elsewhere, though
    the directory still calls it alive (a broken network between the two of us, say)."""

    def __init__(self, incarnation: int, *, seed: int = 0) -> None:
        self.incarnation = incarnation
        self.view: View = EMPTY_VIEW
        self.links: dict[int, Link] = {}
        self.outbox = Outbox()
        self.parts: Parts | None = None
        self.fenced_off = False
        """The directory has declared this process dead: all it holds is void; join anew."""
        self._dirty: dict[int, Link] = {}
        self._avoid: set[int] = set()
        """Members that get nothing while their step has others: peers that cannot be reached, and
        a process that leaves, for itself."""
        self._rng = random.Random(seed ^ incarnation)

    # frames

    def accepts_peer(self, incarnation: int) -> bool:
        """Whether to talk to this peer at all. One that is newer than our view is welcome."""
        return not self.view.is_dead(incarnation)

    def connect(self, peer: int, now: float) -> None:
        """The transport has a connection to `peer`."""
        if self.fenced_off or self.view.is_dead(peer):
            return
        link = self._link(peer, now)
        link.connect(now)
        self._avoid.discard(peer)
        self._dirty[peer] = link

    def disconnect(self, peer: int, now: float) -> None:
        if link := self.links.get(peer):
            link.disconnect(now)

    def receive(self, peer: int, frame: Frame, now: float) -> None:
        """Take in a frame of `peer`."""
        if self.fenced_off or self.view.is_dead(peer):
            return
        link = self._link(peer, now)
        acknowledged, fresh = link.receive(frame)
        for sent in acknowledged:
            self._accepted(sent, peer)
        self._dirty[peer] = link
        if not fresh:
            return
        for kept in self.outbox.settle(frame.settled):
            if kept.parent is not None:
                self._free(kept.parent)
            if self.parts is not None and isinstance(kept, Retained) and kept.message.part:
                self.parts.drop(kept.message.part)
        for message in frame.messages:
            self._take_message(peer, message, now)
        for segment in frame.segments:
            self._take_segment(peer, segment, now)
        for done in frame.done:
            self._take_done(done, now)
        for control in frame.control:
            if not isinstance(control, InHand):
                self._take_control(peer, control, now)
            elif (there := self.outbox.messages.get(control.ref)) is not None:
                there.in_hand = control.now

    def outgoing(self, now: float) -> Iterator[tuple[int, Frame]]:
        """Frames to put on the wire now, as (peer, frame)."""
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, {}
        load = self.load()
        for peer, link in dirty.items():
            if self.links.get(peer) is not link:
                continue
            while (frame := link.next_frame(load, now)) is not None:
                yield peer, frame

    def load(self) -> int:
        """Messages waiting and in work here."""
        return 0

    # membership and time

    def apply_view(self, view: View, now: float) -> None:
        """Adopt a newer view; what dead peers held for us goes elsewhere."""
        if view.version <= self.view.version or self.fenced_off:
            return
        self.view = view
        if view.is_dead(self.incarnation):
            self.fenced_off = True
            return
        self._avoid = {member for member in self._avoid if not view.is_dead(member)}
        lost = [
            kept
            for kept in self.outbox.messages.values()
            if kept.target and view.is_dead(kept.target)
        ]
        self._take_back(lost, crashed=True)
        for peer in [peer for peer in self.links if view.is_dead(peer)]:
            del self.links[peer]
        self._send_waiting(now)
        for segment in list(self.outbox.segments.values()):
            self._send_segment(segment, now)

    def tick(self, now: float) -> None:
        """Let time pass; call several times a second."""
        unreachable: set[int] = set()
        for peer, link in self.links.items():
            if link.tick(now):
                self._dirty[peer] = link
            if not link.connected and now - link.down_since > self.unreachable_after:
                unreachable.add(peer)
        if not unreachable:
            return
        self._avoid |= unreachable
        movable = [
            kept
            for kept in self.outbox.messages.values()
            if kept.target in unreachable and self._target_of(kept.message) not in unreachable
        ]
        self._take_back(movable, crashed=False)
        self._send_waiting(now)

    def _take_back(self, kepts: Iterable[Retained], *, crashed: bool) -> None:
        """Who they were sent to is gone: they wait to be sent again, with a higher fork.

        As copies, since the old messages may still lie in frames that wait for an acknowledgement.
        """
        by_target: defaultdict[int, list[Retained]] = defaultdict(list)
        for kept in kepts:
            by_target[kept.target].append(kept)
        for target, taken in by_target.items():
            link = self.links.get(target)
            unsent = link.withdraw({kept.message.ref for kept in taken}) if link else frozenset()
            for kept in taken:
                message = copy(kept.message)
                message.fork += max(1, FORK_STEP - message.hop)
                # Not only what was acknowledged: a row may kill before the acknowledgement is out.
                if crashed and kept.message.ref not in unsent:
                    suspected = kept.in_hand
                    message.crashes += message.crashes < SUSPECT if suspected is None else suspected
                self.outbox.renumber(kept, message)

    def _send_waiting(self, now: float) -> None:
        """Send what has no receiver yet, where there is one now."""
        waiting = [kept for kept in self.outbox.messages.values() if not kept.target]
        for kept in waiting:
            self._send(kept, self._target_of(kept.message), now)

    # sending

    def _dispatch(self, message: Message, parent: Parent | None, now: float) -> Retained:
        """Retain the message and send it where its header says."""
        if self.parts is not None:
            self.parts.stow(message)
        kept = self.outbox.retain(message, parent)
        self._send(kept, self._target_of(message), now)
        return kept

    def _send(self, kept: Retained, target: int, now: float) -> None:
        """`target`: an incarnation other than our own; 0 lets the message wait."""
        kept.target = target
        if target:
            link = self.links.get(target) or self._link(target, now)
            link.send(kept.message)
            self._dirty[target] = link

    def _send_segment(self, kept: RetainedSegment, now: float) -> None:
        """To the present writer of its row, if that has not got it yet; under its old number."""
        owner = self.view.writer_of(kept.item.row)
        if kept.target != owner:
            kept.target = owner
            if owner:
                link = self.links.get(owner) or self._link(owner, now)
                link.send_segment(kept.item)
                self._dirty[owner] = link

    def _target_of(self, message: Message) -> int:
        """Incarnation that shall get the message; 0 where there is none at the moment."""
        to = message.to
        if to in ENDS:
            return self.view.writer_of(message.row)
        view = self.view
        members = view.by_step.get(to)
        if not members:
            return 0
        if len(members) == 1:
            return members[0].incarnation
        if self._avoid:
            members = [m for m in members if m.incarnation not in self._avoid] or members
        if to in view.mixed and message.pins:
            # A row that has met one revision of a pool stays with it while that one serves.
            pins = message.pins
            members = [m for m in members if pins.get(m.pool, m.revision) == m.revision] or members
        if message.branch is not None and message.at_join:
            return meeting_place(members, message.row)
        return choose(members, message.homes.get(to, 0), self._load_of, self._rng)

    def _load_of(self, incarnation: int) -> int:
        link = self.links.get(incarnation)
        return link.load if link else 0

    def _settle(self, sender: int, ref: int) -> None:
        """Tell `sender` that we need its copy no longer; a dead one needs no telling."""
        if link := self.links.get(sender):
            link.settle(ref)
            self._dirty[sender] = link

    def _free(self, parent: Parent) -> None:
        """One of those things that came of the parent is safe with others."""
        parent.open -= 1
        if parent.open:
            return
        for one in parent.joined:
            self._free(one)
        if not parent.joined:
            self._settle(parent.sender, parent.ref)

    def _accepted(self, frame: Frame, peer: int) -> None:
        """The peer has all that this frame of ours carried."""
        messages = self.outbox.messages
        for message in frame.messages:
            kept = messages.get(message.ref)
            if kept is not None and not kept.accepted and kept.target == peer:
                kept.accepted = True
                if kept.parent is not None and not kept.borrowed:
                    self._free(kept.parent)
                    kept.parent = None
        segments = self.outbox.segments
        for item in frame.segments:
            segment = segments.get(item.ref)
            if segment is not None and segment.parent is not None and segment.target == peer:
                self._free(segment.parent)
                segment.parent = None
        for control in frame.control:
            if isinstance(control, InHand):
                self._holder_knows(peer, control.ref)

    def _link(self, peer: int, now: float) -> Link:
        link = self.links.get(peer)
        if link is None:
            link = self.links[peer] = self.link_type(peer, now)
        return link

    # what the roles answer for

    def _holder_knows(self, holder: int, ref: int) -> None:
        """The holder of a copy has been told by `InHand`."""

    def _take_message(self, peer: int, message: Message, now: float) -> None:
        raise NotImplementedError

    def _take_segment(self, peer: int, segment: SegmentItem, now: float) -> None:
        raise NotImplementedError

    def _take_done(self, done: Done, now: float) -> None:
        raise NotImplementedError

    def _take_control(self, peer: int, control: Control, now: float) -> None:
        raise NotImplementedError
