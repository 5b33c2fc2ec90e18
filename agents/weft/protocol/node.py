"""What every process on the data path does: links to its peers, an outbox, the view it acts on.

A row is held by two processes at any time: whoever has it in hand, and the one before, who keeps
his copy until the receiver's results have been accepted by yet another process, or are committed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Set
from copy import copy

from weft.protocol.link import Link
from weft.protocol.message import ENDS, Control, Done, Frame, Message, SegmentItem
from weft.protocol.outbox import Outbox, Retained, RetainedSegment
from weft.protocol.router import choose
from weft.protocol.view import EMPTY_VIEW, View, partition_of

UNREACHABLE_AFTER = 15.0
"""Seconds without a connection after which what a peer holds for us is sent elsewhere, though the
directory still calls it alive (a broken network between the two of us, say)."""


class Node:
    """Base of the roles. Subclasses take in messages (`_take_message`), segments and control."""

    def __init__(self, incarnation: int, *, seed: int = 0) -> None:
        self.incarnation = incarnation
        self.view: View = EMPTY_VIEW
        self.links: dict[int, Link] = {}
        self.outbox = Outbox()
        self.fenced_off = False
        """The directory has declared this process dead: all it holds is void; join anew."""
        self._dirty: dict[int, Link] = {}
        self._rng = random.Random(seed ^ incarnation)

    # frames

    def accepts_peer(self, incarnation: int) -> bool:
        """Whether to talk to this peer at all. One that is newer than our view is welcome."""
        return not self.view.is_dead(incarnation)

    def connect(self, peer: int, now: float) -> None:
        """The transport has a connection to `peer`."""
        link = self._link(peer, now)
        link.connect(now)
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
            for message in sent.messages:
                self._accepted(message.ref, peer)
        self._dirty[peer] = link
        if not fresh:
            return
        for ref in frame.settled:
            self.outbox.settle(ref)
        for message in frame.messages:
            self._take_message(peer, message, now)
        for segment in frame.segments:
            self._take_segment(peer, segment, now)
        for done in frame.done:
            self._take_done(done, now)
        for control in frame.control:
            self._take_control(peer, control, now)

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
        for peer in [peer for peer in self.links if view.is_dead(peer)]:
            del self.links[peer]
        gone = {kept.target for kept in self.outbox.messages.values()}
        gone = {target for target in gone if target and view.is_dead(target)}
        for kept in self.outbox.sent_to(gone):
            self._take_back(kept, crashed=True)
        self._send_waiting(now)
        self._move_segments(now)

    def tick(self, now: float) -> None:
        """Let time pass; call several times a second."""
        unreachable: set[int] = set()
        for peer, link in self.links.items():
            link.tick(now)
            self._dirty[peer] = link
            if not link.connected and now - link.down_since > UNREACHABLE_AFTER:
                unreachable.add(peer)
        if unreachable:
            for kept in self.outbox.sent_to(unreachable):
                if self._target_of(kept.message, avoid=unreachable) not in unreachable:
                    self._take_back(kept, crashed=False)
            self._send_waiting(now, avoid=unreachable)

    def _take_back(self, kept: Retained, *, crashed: bool) -> None:
        """What it was sent to is gone: it waits to be sent again, with a higher fork.

        A copy, since the old message may still lie in the queue of a link.
        """
        message = copy(kept.message)
        message.fork += 1
        if crashed and kept.accepted:
            message.crashes += 1
        self.outbox.renumber(kept, message)

    def _send_waiting(self, now: float, avoid: Set[int] = frozenset()) -> None:
        """Send what has no receiver yet, where there is one now."""
        for kept in self.outbox.sent_to({0}):
            self._send(kept, now, avoid)

    def _move_segments(self, now: float) -> None:
        """Send segments to the present writer of their row, under their old numbers."""
        for kept in self.outbox.segments.values():
            self._send_segment(kept, now)

    # sending

    def _dispatch(self, message: Message, parent_sender: int, parent_ref: int, now: float) -> None:
        """Retain the message and send it where its header says."""
        self._send(self.outbox.retain(message, parent_sender, parent_ref), now)

    def _send(self, kept: Retained, now: float, avoid: Set[int] = frozenset()) -> None:
        kept.target = target = self._target_of(kept.message, avoid)
        if target:
            link = self._link(target, now)
            link.send(kept.message)
            self._dirty[target] = link

    def _send_segment(self, kept: RetainedSegment, now: float) -> None:
        owner = self._writer_of(kept.item.row)
        if owner and kept.target != owner:
            kept.target = owner
            link = self._link(owner, now)
            link.send_segment(kept.item)
            self._dirty[owner] = link

    def _target_of(self, message: Message, avoid: Set[int]) -> int:
        """Incarnation that shall get the message; 0 where there is none at the moment."""
        if message.to in ENDS:
            return self._writer_of(message.row)
        members = self.view.by_step.get(message.to)
        if not members:
            return 0
        if avoid:
            members = [m for m in members if m.incarnation not in avoid] or members
        if message.pins and len(members) > 1:
            # A row that has met one revision of a pool stays with it while that one serves.
            pins = message.pins
            members = [m for m in members if pins.get(m.pool, m.revision) == m.revision] or members
        return choose(members, message.homes.get(message.to, 0), self._load_of, self._rng)

    def _load_of(self, incarnation: int) -> int:
        link = self.links.get(incarnation)
        return link.load if link else 0

    def _writer_of(self, row: int) -> int:
        return self.view.writers.get(partition_of(row, self.view.writer_partitions), 0)

    def _settle(self, sender: int, ref: int) -> None:
        """Tell `sender` that we need its copy no longer; a dead one needs no telling."""
        if sender and (link := self.links.get(sender)):
            link.settle(ref)
            self._dirty[sender] = link

    def _accepted(self, ref: int, peer: int) -> None:
        kept = self.outbox.messages.get(ref)
        if kept is None or kept.accepted or kept.target != peer:
            return
        kept.accepted = True
        if kept.parent_sender:
            self._settle(kept.parent_sender, kept.parent_ref)
            kept.parent_sender = 0

    def _link(self, peer: int, now: float) -> Link:
        link = self.links.get(peer)
        if link is None:
            link = self.links[peer] = Link(peer, now)
        return link

    # what the roles answer for

    def _take_message(self, peer: int, message: Message, now: float) -> None:
        raise NotImplementedError

    def _take_segment(self, peer: int, segment: SegmentItem, now: float) -> None:
        raise NotImplementedError

    def _take_done(self, done: Done, now: float) -> None:
        raise NotImplementedError

    def _take_control(self, peer: int, control: Control, now: float) -> None:
        raise NotImplementedError
