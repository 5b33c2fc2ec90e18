"""The machine of a writer: joins rows with their segments, commits them, has the last word.

A row is committed once, whatever lineages of it arrive: the first complete one wins.
"""

from __future__ import annotations

import msgspec

from weft.protocol.committed import CommittedRows
from weft.protocol.message import (
    ACCEPT,
    DEAD,
    REJECT,
    CensusAnswer,
    CensusAsk,
    Control,
    Done,
    Message,
    Part,
    SegmentItem,
)
from weft.protocol.node import Node
from weft.protocol.view import partition_of

STATUS_OF = {ACCEPT: "accepted", REJECT: "rejected", DEAD: "dead"}
SEGMENT_WAIT = 10.0
"""Seconds that a row waits for a segment it names. Its holder and the writer that had it may both
have died; then this lineage is dropped and the census finds the row missing."""


class Finished(msgspec.Struct):
    """A row ready to be committed. `segments` in hop order."""

    row: int
    status: str
    reason: str
    body: bytes
    segments: list[bytes]
    attempts: int
    epoch: int
    part: Part | None = None
    """Where the body has to be fetched from, when it did not come with the message."""
    deadline: float = 0.0
    """As the message had it."""


class Batch(msgspec.Struct):
    """Rows of one partition, to be committed at once; `number` tells batches apart."""

    number: int
    partition: int
    rows: list[Finished]


_Key = tuple[int, int]
"""Of a segment: its maker's incarnation, and its maker's number for it."""


MAX_BATCH_BYTES = 64 << 20
"""Bodies in one commit; a partition that has as many commits without waiting for its interval."""


class _Pending:
    """A row that has reached its end; `tells` names the copy that its sender keeps."""

    __slots__ = ("message", "missing", "since", "tells")

    def __init__(self, message: Message, peer: int, missing: set[_Key], now: float) -> None:
        self.message = message
        self.missing = missing
        self.since = now
        self.tells = (peer, message.ref)


class WriterNode(Node):
    """`take_batch` hands out what to commit; `committed` or `failed` says what came of it."""

    def __init__(
        self,
        incarnation: int,
        *,
        partitions: int,
        owned: tuple[int, ...],
        committed: CommittedRows,
        interval: float,
        max_batch: int = 4096,
        seed: int = 0,
    ) -> None:
        """`committed`: what the table already holds for the owned partitions. `interval`: seconds
        that a finished row waits for company at the most."""
        super().__init__(incarnation, seed=seed)
        self.partitions = partitions
        self.owned = owned
        self.done_rows = committed
        self.interval = interval
        self.max_batch = max_batch
        self.waiting: dict[int, _Pending] = {}
        """Rows whose segments are not all here."""
        self.ready: dict[int, dict[int, _Pending]] = {partition: {} for partition in owned}
        self.in_commit: dict[int, tuple[Batch, dict[int, _Pending]]] = {}
        self._segments: dict[int, dict[_Key, bytes]] = {}
        self._oldest: dict[int, float] = {}
        self._bytes: dict[int, int] = {}
        self._numbers = 0

    def load(self) -> int:
        return len(self.waiting) + sum(len(rows) for rows in self.ready.values())

    # committing

    def due(self, now: float, *, flush: bool = False) -> list[int]:
        """Partitions with a batch to commit now; none that is committing already."""
        return [
            partition
            for partition, rows in self.ready.items()
            if rows
            and partition not in self.in_commit
            and (
                flush
                or len(rows) >= self.max_batch
                or self._bytes[partition] >= MAX_BATCH_BYTES
                or now - self._oldest.get(partition, now) >= self.interval
            )
        ]

    def take_batch(self, partition: int) -> Batch:
        """The oldest finished rows of the partition, as many as one batch may have."""
        ready = self.ready[partition]
        chosen: dict[int, _Pending] = {}
        size = 0
        for row in list(ready):
            if len(chosen) >= self.max_batch or size >= MAX_BATCH_BYTES:
                break
            pending = chosen[row] = ready.pop(row)
            size += len(pending.message.body)
        self._bytes[partition] -= size
        self._numbers += 1
        batch = Batch(
            self._numbers, partition, [self._finish(row, kept) for row, kept in chosen.items()]
        )
        self.in_commit[partition] = (batch, chosen)
        return batch

    def committed(self, batch: Batch, now: float, *, already: frozenset[int] = frozenset()) -> None:
        """The batch is in the table for good. `already`: rows of it that an earlier commit, given
        up by then, had brought in after all."""
        _, chosen = self.in_commit.pop(batch.partition)
        self._oldest[batch.partition] = now
        for finished in batch.rows:
            self.done_rows.add(finished.row, finished.status)
            self._release(finished.row, chosen[finished.row], now)

    def lose(self, batch: Batch, row: int) -> None:
        """The row's body has died with its holder: it leaves the batch, and a census will find
        that nobody has it."""
        _, chosen = self.in_commit[batch.partition]
        self._settle(*chosen.pop(row).tells)
        batch.rows = [finished for finished in batch.rows if finished.row != row]

    def failed(self, batch: Batch, now: float) -> None:
        """The batch is surely not in the table: its rows wait for the next one."""
        _, chosen = self.in_commit.pop(batch.partition)
        self.ready[batch.partition] = {**chosen, **self.ready[batch.partition]}
        size = sum(len(pending.message.body) for pending in chosen.values())
        self._bytes[batch.partition] = self._bytes.get(batch.partition, 0) + size

    def idle(self) -> bool:
        return not (self.waiting or self.in_commit or any(self.ready.values()))

    def segments_held(self) -> int:
        """Segments of rows that are not committed yet."""
        return sum(len(segments) for segments in self._segments.values())

    def tick(self, now: float) -> None:
        super().tick(now)
        late = [row for row, kept in self.waiting.items() if now - kept.since > SEGMENT_WAIT]
        for row in late:
            self._settle(*self.waiting.pop(row).tells)

    def _finish(self, row: int, kept: _Pending) -> Finished:
        message = kept.message
        segments = self._segments.get(row, {})
        named = message.segments
        return Finished(
            row,
            STATUS_OF[message.to],
            message.reason,
            message.body,
            [segments[key] for key in zip(named[::2], named[1::2], strict=True)],
            message.attempts + message.crashes + 1,
            message.epoch,
            message.part,
            message.deadline,
        )

    def _release(self, row: int, kept: _Pending, now: float) -> None:
        self._settle(*kept.tells)
        for maker, ref in self._segments.pop(row, ()):
            self._settle(maker, ref)
        self._tell_source(row, now)

    def _tell_source(self, row: int, now: float) -> None:
        source = self.view.source
        if source:
            link = self._link(source, now)
            link.send_done(Done(row, self.done_rows.status(row)))
            self._dirty[source] = link

    # taking in

    def _take_message(self, peer: int, message: Message, now: float) -> None:
        row = message.row
        partition = partition_of(row, self.partitions)
        if partition not in self.ready:
            # Not ours: the sender counts other partitions than we do. It keeps its copy.
            return
        if row in self.done_rows:
            self._settle(peer, message.ref)
            self._tell_source(row, now)
            return
        in_commit = self.in_commit.get(partition)
        if row in self.ready[partition] or (in_commit and row in in_commit[1]):
            self._settle(peer, message.ref)
            return
        named, here = message.segments, self._segments.get(row, ())
        missing = {key for key in zip(named[::2], named[1::2], strict=True) if key not in here}
        if (other := self.waiting.get(row)) is not None:
            if missing and other.message.tag >= message.tag:
                self._settle(peer, message.ref)
                return
            del self.waiting[row]
            self._settle(*other.tells)
        pending = _Pending(message, peer, missing, now)
        if missing:
            self.waiting[row] = pending
        else:
            self._make_ready(partition, row, pending, now)

    def _take_segment(self, peer: int, segment: SegmentItem, now: float) -> None:
        row = segment.row
        held = self._segments.get(row)
        if held is None:  # Where others of the row are held, it is ours, and not committed.
            if row in self.done_rows:
                self._settle(peer, segment.ref)
                return
            if partition_of(row, self.partitions) not in self.ready:
                return
            held = self._segments[row] = {}
        key = (peer, segment.ref)
        held[key] = segment.body
        pending = self.waiting.get(row)
        if pending is not None:
            pending.missing.discard(key)
            if not pending.missing:
                del self.waiting[row]
                self._make_ready(partition_of(row, self.partitions), row, pending, now)

    def _make_ready(self, partition: int, row: int, pending: _Pending, now: float) -> None:
        ready = self.ready[partition]
        if not ready:
            self._oldest[partition] = now
            self._bytes[partition] = 0
        ready[row] = pending
        self._bytes[partition] += len(pending.message.body)
        self._tell_source(row, now)

    def _take_control(self, peer: int, control: Control, now: float) -> None:
        if not isinstance(control, CensusAsk):
            return
        held = {row: kept.message.epoch for row, kept in self.waiting.items()}
        for rows in [*self.ready.values(), *(chosen for _, chosen in self.in_commit.values())]:
            held.update((row, kept.message.epoch) for row, kept in rows.items())
        if control.rows is None:
            answer = CensusAnswer(control.number, list(held.items()), [])
        else:
            answer = CensusAnswer(
                control.number,
                [(row, held[row]) for row in control.rows if row in held],
                [
                    Done(row, status)
                    for row in control.rows
                    if (status := self.done_rows.status(row))
                ],
            )
        link = self._link(peer, now)
        link.send_control(answer)
        self._dirty[peer] = link

    def _take_done(self, done: Done, now: float) -> None:
        raise AssertionError("the end of a row is told to the source")
