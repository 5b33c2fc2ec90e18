"""What a process has sent and must keep until it is settled, so that a row on its way is always
held by two processes.

What is kept by the thousands is of structs that the garbage collector does not follow (they form no
cycles): following them took a third of a hop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

import msgspec

from weft.protocol.message import Message, SegmentItem


class Parent(msgspec.Struct, gc=False, eq=False):
    """A message that has come to us, as its sender sees it: he keeps his copy until all that came
    of it (the next message, and the segments) has been accepted by others."""

    sender: int
    ref: int
    open: int = 1
    """What has not been accepted: the work in our hands, then the message and segments of it."""
    joined: tuple[Parent, ...] = ()
    """Of a row that was joined of several messages: theirs (`sender` and `ref` are 0 then)."""

    def holders(self) -> Iterator[tuple[int, int]]:
        """Who keeps a copy: sender and its number for it."""
        if not self.joined:
            yield self.sender, self.ref
        for parent in self.joined:
            yield from parent.holders()


class Retained(msgspec.Struct, gc=False, eq=False):
    """A message sent and not settled yet."""

    message: Message
    parent: Parent | None
    """What it came of, until it is accepted."""
    target: int = 0
    """Incarnation it was sent to; 0 while nobody serves its step."""
    accepted: bool = False
    in_hand: bool | None = None
    """What the receiver has said, if anything: whether it is handling it (`quarantine`)."""
    borrowed: bool = False
    """It was only handed on: the sender before us keeps his copy until this one is settled, and not
    only until it is accepted."""


class RetainedSegment(msgspec.Struct, gc=False, eq=False):
    """A trace segment not committed yet."""

    item: SegmentItem
    parent: Parent | None
    """What it came of, until it is accepted."""
    target: int = 0
    """The writer it was sent to; 0 while there is none."""


class Outbox:
    """Retained messages and segments by our own number for them."""

    __slots__ = ("_numbers", "messages", "segments")

    def __init__(self) -> None:
        self._numbers = count(1)
        self.messages: dict[int, Retained] = {}
        self.segments: dict[int, RetainedSegment] = {}

    def __len__(self) -> int:
        return len(self.messages) + len(self.segments)

    def retain(self, message: Message, parent: Parent | None = None) -> Retained:
        """Number the message and keep it."""
        message.ref = ref = next(self._numbers)
        retained = self.messages[ref] = Retained(message, parent)
        return retained

    def renumber(self, kept: Retained, message: Message) -> None:
        """Keep `message` in place of what `kept` held, under a number of its own: a late settlement
        of the old one must not release this one."""
        del self.messages[kept.message.ref]
        message.ref = next(self._numbers)
        kept.message = message
        kept.accepted = False
        kept.in_hand = None
        kept.target = 0
        self.messages[message.ref] = kept

    def retain_segment(
        self, row: int, body: bytes, parent: Parent | None = None
    ) -> RetainedSegment:
        """Number the segment and keep it. The number is for good: the row's message names it."""
        ref = next(self._numbers)
        kept = self.segments[ref] = RetainedSegment(SegmentItem(ref, row, body), parent)
        return kept

    def settle(self, refs: Iterable[int]) -> list[Retained | RetainedSegment]:
        """The receiver has passed these on or committed them: gives what was kept of them. An
        unknown number is old news."""
        messages, segments = self.messages, self.segments
        settled: list[Retained | RetainedSegment] = []
        for ref in refs:
            kept = messages.pop(ref, None) or segments.pop(ref, None)
            if kept is not None:
                settled.append(kept)
        return settled
