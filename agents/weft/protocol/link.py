"""A reliable, ordered session between two incarnations, over anything that carries frames.

Frames are numbered per direction and kept until acknowledged; the receiver takes them strictly in
order. Lost, doubled or reordered frames and broken connections therefore never show above this
file.

Messages to agents, the writers' word on rows and the census go out at once. What nobody waits for
waits for company or for a moment: acknowledgements, settlements, and, while there is work that may
bring company, segments and rows on their way to the writer, where they wait for the commit anyhow.
Each frame costs both ends a system call and a waking, which, where hops are few, would be most of
what a hop costs.

Hazard: a row may so be further on than its last segment. If that is lost with its maker, the row
waits at the writer in vain; but until the writer has the segment, the hop before keeps its copy,
and sends it again.

The session ends only with one of its two processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set

from weft.protocol.message import ENDS, Control, Done, Frame, Message, SegmentItem

RESEND_AFTER = 2.0
"""Seconds without an acknowledgement after which frames go out again (TCP loses none; a new
connection resends at once)."""


class Link:
    """One end of the session with `peer`."""

    FRAME_MESSAGES = 256
    """Messages (and as many segments) in one frame at the most."""
    FRAME_BYTES = 192 << 10
    """A frame is closed when its bodies reach this; one body may be larger. With the rest of the
    frame it fits a connection's receive buffer, in which it then need not be moved."""
    WINDOW = 8
    """Unacknowledged frames at the most. The peer acknowledges before it is exhausted."""
    COMPANY = 16
    """Waiting items, or messages in the frames to be acknowledged, that are worth a frame."""
    PATIENCE = 0.05
    """Seconds that they wait for more; the next tick then sends them."""

    __slots__ = (
        "_control",
        "_done",
        "_lazy_since",
        "_messages",
        "_next",
        "_owed",
        "_received",
        "_resend",
        "_segments",
        "_sent_at",
        "_settled",
        "_unacked",
        "connected",
        "down_since",
        "load",
        "peer",
    )

    def __init__(self, peer: int, now: float) -> None:
        self.peer = peer
        self.connected = False
        self.down_since = now
        self.load = 0
        """The peer's own word on its load, plus what we have sent since."""
        self._messages: deque[Message] = deque()
        self._settled: list[int] = []
        self._segments: deque[SegmentItem] = deque()
        self._done: list[Done] = []
        self._control: list[Control] = []
        self._unacked: deque[Frame] = deque()
        self._resend: deque[Frame] = deque()
        self._next = 1
        self._received = 0
        self._owed = 0
        """How much the peer waits for our acknowledgement: in `COMPANY`."""
        self._lazy_since: float | None = None
        """Since when something waits for company."""
        self._sent_at = now

    # what the role wants to send

    def send(self, message: Message) -> None:
        self._messages.append(message)
        self.load += 1

    def send_segment(self, segment: SegmentItem) -> None:
        self._segments.append(segment)

    def settle(self, ref: int) -> None:
        self._settled.append(ref)

    def send_done(self, done: Done) -> None:
        self._done.append(done)

    def send_control(self, control: Control) -> None:
        self._control.append(control)

    def withdraw(self, refs: Set[int]) -> Set[int]:
        """Do not send these messages. Returns those that have not been sent yet."""
        unsent = refs & {message.ref for message in self._messages}
        self._messages = deque(message for message in self._messages if message.ref not in unsent)
        self.load -= len(unsent)
        return unsent

    # the connection

    def connect(self, now: float) -> None:
        """A (new) connection stands: everything unacknowledged goes out again."""
        self.connected = True
        self._resend = deque(self._unacked)
        self._sent_at = now
        self._owed = self.COMPANY

    def disconnect(self, now: float) -> None:
        if self.connected:
            self.connected = False
            self.down_since = now

    def unacknowledged(self) -> int:
        return len(self._unacked)

    def queued(self) -> int:
        """Items not sent yet."""
        return (
            len(self._messages)
            + len(self._settled)
            + len(self._segments)
            + len(self._done)
            + len(self._control)
        )

    def next_frame(self, load: int, now: float) -> Frame | None:
        """The frame to put on the wire now, or None. Call again until None."""
        if not self.connected:
            return None
        if self._resend:
            frame = self._resend.popleft()
        elif self._has_urgent(load) or self._lazy_is_due(now):
            frame = self._close_frame() if self._may_send() else Frame()
        else:
            return None
        frame.ack = self._received
        frame.load = load
        self._owed = 0
        self._lazy_since = None
        if frame.seq:
            self._sent_at = now
        return frame

    def receive(self, frame: Frame) -> tuple[list[Frame], bool]:
        """Take a frame in. Returns our own frames that it acknowledges, and whether its items are
        new (False: seen before or out of order; ignore them)."""
        acknowledged: list[Frame] = []
        unacked = self._unacked
        while unacked and unacked[0].seq <= frame.ack:
            acknowledged.append(unacked.popleft())
        while self._resend and self._resend[0].seq <= frame.ack:
            self._resend.popleft()
        self.load = frame.load + len(self._messages)
        for sent in unacked:
            self.load += len(sent.messages)
        if not frame.seq:
            return acknowledged, False
        if frame.seq != self._received + 1:
            self._owed = self.COMPANY
            return acknowledged, False
        self._owed += max(len(frame.messages), self.COMPANY * 2 // self.WINDOW, 1)
        self._received = frame.seq
        return acknowledged, True

    def tick(self, now: float) -> bool:
        """Have frames go out again where the peer has been silent for too long. True when there is
        something to send."""
        if self._unacked and not self._resend and now - self._sent_at >= RESEND_AFTER:
            self._resend = deque(self._unacked)
            return True
        return self._lazy_is_due(now)

    def _may_send(self) -> bool:
        return len(self._unacked) < self.WINDOW and self.queued() > 0

    def _has_urgent(self, load: int) -> bool:
        if self._owed >= self.COMPANY:
            return True
        if len(self._unacked) >= self.WINDOW:
            return False
        if self._done or self._control:
            return True
        messages = self._messages
        if load:
            # To one peer go either ends of rows only, or none.
            return bool(messages) and messages[0].to not in ENDS
        return bool(messages or self._segments)  # No company will come.

    def _lazy_is_due(self, now: float) -> bool:
        waiting = self._owed
        if len(self._unacked) < self.WINDOW:
            waiting += len(self._settled) + len(self._segments) + len(self._messages)
        if not waiting:
            return False
        if self._lazy_since is None:
            self._lazy_since = now
        return waiting >= self.COMPANY or now - self._lazy_since >= self.PATIENCE

    def _close_frame(self) -> Frame:
        frame = Frame(seq=self._next)
        self._next += 1
        size = 0
        if self._messages:
            messages = frame.messages = []
            queue = self._messages
            while queue and len(messages) < self.FRAME_MESSAGES and size < self.FRAME_BYTES:
                message = queue.popleft()
                size += len(message.body)
                messages.append(message)
        if self._segments:
            segments = frame.segments = []
            items = self._segments
            while items and len(segments) < self.FRAME_MESSAGES and size < self.FRAME_BYTES:
                item = items.popleft()
                size += len(item.body)
                segments.append(item)
        if self._settled:
            frame.settled, self._settled = self._settled, []
        if self._done:
            frame.done, self._done = self._done, []
        if self._control:
            frame.control, self._control = self._control, []
        self._unacked.append(frame)
        return frame
