"""What a process has sent and must keep until it is settled, so that a row on its way is always
held by two processes."""

from __future__ import annotations

from weft.protocol.message import Message, SegmentItem


class Retained:
    """A message sent and not settled yet.

    `parent_sender` and `parent_ref` name the message that this one came of, as long as its sender
    still waits for our word: it is settled once this one is accepted.
    """

    __slots__ = ("accepted", "message", "parent_ref", "parent_sender", "target")

    def __init__(self, message: Message, parent_sender: int, parent_ref: int) -> None:
        self.message = message
        self.target = 0
        """Incarnation it was sent to; 0 while nobody serves its step."""
        self.accepted = False
        self.parent_sender = parent_sender
        self.parent_ref = parent_ref


class RetainedSegment:
    """A trace segment not committed yet, and the writer that has it (0: none at the moment)."""

    __slots__ = ("item", "target")

    def __init__(self, item: SegmentItem) -> None:
        self.item = item
        self.target = 0


class Outbox:
    """Retained messages and segments by our own number for them."""

    __slots__ = ("_next", "messages", "segments")

    def __init__(self) -> None:
        self._next = 1
        self.messages: dict[int, Retained] = {}
        self.segments: dict[int, RetainedSegment] = {}

    def __len__(self) -> int:
        return len(self.messages) + len(self.segments)

    def number(self) -> int:
        ref = self._next
        self._next = ref + 1
        return ref

    def retain(self, message: Message, parent_sender: int = 0, parent_ref: int = 0) -> Retained:
        """Number the message and keep it."""
        message.ref = self.number()
        retained = Retained(message, parent_sender, parent_ref)
        self.messages[message.ref] = retained
        return retained

    def renumber(self, kept: Retained, message: Message) -> None:
        """Keep `message` in place of what `kept` held, under a number of its own: a late settlement
        of the old one must not release this one."""
        del self.messages[kept.message.ref]
        message.ref = self.number()
        kept.message = message
        kept.accepted = False
        kept.target = 0
        self.messages[message.ref] = kept

    def retain_segment(self, row: int, body: bytes) -> RetainedSegment:
        """Number the segment and keep it. The number is for good: the row's message names it."""
        kept = RetainedSegment(SegmentItem(self.number(), row, body))
        self.segments[kept.item.ref] = kept
        return kept

    def settle(self, ref: int) -> None:
        """The receiver has passed it on or committed it. An unknown number is old news."""
        if self.messages.pop(ref, None) is None:
            self.segments.pop(ref, None)

    def sent_to(self, gone: set[int]) -> list[Retained]:
        """Messages whose receiver is among `gone`, oldest first."""
        return [kept for kept in self.messages.values() if kept.target in gone]
