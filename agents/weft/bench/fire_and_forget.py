"""Machines that promise nothing, to hold the real ones against: a message is sent once and
forgotten. No copy is kept, nothing is acknowledged, settled, fenced, joined or committed.

A row that is lost on its way is lost. They are of use in `in_process` only, and in no pipeline.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from weft.protocol.inbox import Work
from weft.protocol.message import ENDS, Done, Frame, Message, SegmentItem

IN_A_FRAME = 128


class Forgetful:
    """Sends what it has to whoever serves the step, in frames that nobody answers."""

    def __init__(self, incarnation: int, peers: Mapping[str, int], writer: int) -> None:
        self.incarnation = incarnation
        self._peers = peers
        self._writer = writer
        self._messages: dict[int, list[Message]] = {}
        self._segments: list[SegmentItem] = []
        self._done: list[Done] = []

    def send(self, message: Message) -> None:
        peer = self._writer if message.to in ENDS else self._peers[message.to]
        self._messages.setdefault(peer, []).append(message)

    def outgoing(self, now: float) -> Iterator[tuple[int, Frame]]:
        waiting, self._messages = self._messages, {}
        for peer, messages in waiting.items():
            for start in range(0, len(messages), IN_A_FRAME):
                yield peer, Frame(messages=messages[start : start + IN_A_FRAME])
        if self._segments:
            segments, self._segments = self._segments, []
            for start in range(0, len(segments), IN_A_FRAME):
                yield self._writer, Frame(segments=segments[start : start + IN_A_FRAME])
        if self._done:
            done, self._done = self._done, []
            yield self._peers["source"], Frame(done=done)

    def tick(self, now: float) -> None:
        """Nothing waits for anything."""


class ForgetfulSource(Forgetful):
    def __init__(self, *who: object, entry: str, max_rows: int) -> None:
        super().__init__(*who)  # type: ignore[arg-type]
        self._entry = entry
        self._max_rows = max_rows
        self._under_way = 0
        self.ended: list[Done] = []

    def room(self) -> bool:
        return self._under_way < self._max_rows

    def issue(self, row: int, body: bytes, now: float) -> None:
        self._under_way += 1
        self.send(Message(row, 1, 0, 0, self._entry, 0, body))

    def receive(self, peer: int, frame: Frame, now: float) -> None:
        self._under_way -= len(frame.done)
        self.ended += frame.done


class ForgetfulAgent(Forgetful):
    def __init__(self, *who: object, step: str) -> None:
        super().__init__(*who)  # type: ignore[arg-type]
        self.step = step
        self._inbox: deque[Message] = deque()

    def receive(self, peer: int, frame: Frame, now: float) -> None:
        self._inbox.extend(frame.messages)

    def take(self, now: float) -> Work | None:
        return Work(self._inbox.popleft(), None, 0, 0) if self._inbox else None

    def complete(self, work: Work, to: str, body: bytes, segment: bytes | None, now: float) -> None:
        message = work.message
        if segment is not None:
            self._segments.append(SegmentItem(0, message.row, segment))
        message.hop += 1
        message.to = to
        message.body = body
        self.send(message)


class ForgetfulWriter(Forgetful):
    """Lets go of what comes."""

    def receive(self, peer: int, frame: Frame, now: float) -> None:
        self._done += [Done(message.row, "accepted") for message in frame.messages]

    def due(self, now: float) -> list[int]:
        return []
