"""The committed output: one Delta table, partitioned by `status`, each row in it once.

How a row is committed once, whatever dies and whatever the store answers:

- Each writer partition has an application's number in the table (a `Ticket`), which every commit
  of the partition moves on by compare-and-set (`ledger.py`).
- A claim moves it on too. So from then on every earlier writer of the partition is refused, and the
  rows that the claim reads back afterwards are all that there will be.
- A commit that is given up (the store failed for too long) may be in the table, or still turn up.
  Its rows are remembered; when its ticket is found, they are left out of the next commit.
- Dead rows that are put back (`retry.py`) leave the table in a transaction that is a claim as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow.fs as arrow_fs
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler

from weft.data import layout, retried
from weft.data.chain import Link, beginning
from weft.data.columns import STATUSES
from weft.data.errors import OutputError, Superseded
from weft.data.ledger import Ledger
from weft.data.parts import Part, write_parts
from weft.data.patience import PATIENCE, T, patiently
from weft.data.readback import active_files, last_link, read_rows
from weft.data.retried import Earlier
from weft.data.storage import absolute, delta_options, shown
from weft.data.ticket import Ticket
from weft.protocol.committed import CommittedRows
from weft.protocol.view import partition_of
from weft.protocol.writer import Finished


class Claim(msgspec.Struct):
    """What a new writer of a partition starts from."""

    partition: int
    number: int
    """Rises with each claim of this partition."""
    rows: CommittedRows
    """All rows of this partition that are committed already."""


class Commit(msgspec.Struct, frozen=True):
    """What came of one call of `commit`: all its rows are in the table."""

    version: int
    """Of the Delta table."""
    rows: int
    """Written by this call; the others are in `already`."""
    bytes: int
    """Of the data files."""
    already: frozenset[int] = frozenset()
    """Rows of this batch that an earlier commit, given up by then, had brought in after all."""


class _Seat(msgspec.Struct):
    """A partition that this process writes."""

    partition: int
    landed: Ticket
    """Of our newest commit that is in the table."""
    used: Ticket
    """The newest that was tried. Never used again for other rows: it names the files too."""
    chain: Link
    """Of the last row that is in the table."""
    lost: dict[Ticket, tuple[frozenset[int], Link]] = {}
    """The commits that may be in the table or turn up yet: their rows, and the last one's link."""
    arrived: set[int] = set()
    """Rows of such a commit that are in the table; the caller does not know yet."""
    retried: dict[int, list[Earlier]] = {}
    """Rows that had ended as dead and were put back."""

    @property
    def application(self) -> str:
        return application_of(self.partition)


class OutputTable:
    """The output as one process sees it.

    Calls block: make them in one thread of your own (an executor of one worker). Each waits about
    `patience` seconds for a store that fails, and then raises `OutputError`. End with `close`,
    after the last call has returned and before the interpreter ends.
    """

    def __init__(
        self,
        uri: str,
        table: DeltaTable,
        storage_options: Mapping[str, str],
        *,
        patience: float = PATIENCE,
    ) -> None:
        """Use `open`."""
        kept = layout.Properties.of(table, uri)
        self.uri = uri
        self.pipeline = kept.pipeline
        self.partitions = kept.partitions
        """As fixed when the table was made."""
        self.source = kept.source
        """The source's fingerprint when the table was made."""
        self.ledger = Ledger(table, storage_options, patience=patience)
        self._patience = patience
        self._storage_options = storage_options
        self.files: Any = arrow_fs.PyFileSystem(
            DeltaStorageHandler(uri, delta_options(uri, storage_options))
        )
        """The table's own file system: paths are relative to it."""
        self._seats: dict[int, _Seat] = {}

    @classmethod
    def open(
        cls,
        uri: str,
        storage_options: Mapping[str, str],
        *,
        pipeline: str,
        uid: str = "",
        partitions: int = 1,
        source: str = "",
        patience: float = PATIENCE,
    ) -> OutputTable:
        """Open the table, making it where there is none (several processes may do so at once).

        `uid` and `source` (the source's fingerprint) are kept when the table is made. Raises
        `OutputError`: not writable, something else in the folder, another pipeline's table."""
        uri = absolute(uri)
        wanted = layout.Properties(pipeline, uid, partitions, source)
        table = layout.open_or_make(uri, storage_options, wanted)
        opened = cls(uri, table, storage_options, patience=patience)
        if opened.pipeline != pipeline:
            raise OutputError(
                f"{shown(uri)}: is the output of the pipeline {opened.pipeline!r}, not of "
                f"{pipeline!r}; choose another output.uri"
            )
        return opened

    @property
    def version(self) -> int:
        """The newest version of the Delta table that this object has seen."""
        return self.ledger.table.version()

    def claim(self, partition: int) -> Claim:
        """Become the partition's only writer, and read what is committed of it.

        Raises `OutputError` when the store fails for too long."""
        if not 0 <= partition < self.partitions:
            raise ValueError(f"partition {partition} of {self.partitions}")
        application = application_of(partition)
        while True:
            self.ledger.refresh()
            old = self.ledger.number(application)
            ticket = Ticket.unpack(old).new_claim()
            if self.ledger.advance(application, old=old, new=ticket.pack()) == ticket.pack():
                break
        rows = self._read(partition)
        self._seats[partition] = _Seat(
            partition,
            landed=ticket,
            used=ticket,
            chain=self._last_link(partition),
            retried=self._retried(partition, rows),
        )
        return Claim(partition, ticket.claim, rows)

    def commit(self, partition: int, rows: Sequence[Finished]) -> Commit:
        """Write the rows of a claimed partition in one atomic commit; return when they are in.

        A row that cannot be converted is written as a dead letter, and its `status` and `reason`
        are changed in place. Raises `Superseded`; or `OutputError` when the store fails for too
        long: call again then, with these rows or others, and none will be in twice."""
        seat = self._seats[partition]
        _check(rows, partition, self.partitions)
        if seat.lost:
            self.ledger.refresh()
        if seat.retried:
            for row in rows:
                if ends := seat.retried.get(row.row):
                    row.segments = retried.noted(row.segments, ends)
        size = None
        while left := [row for row in rows if row.row not in seat.arrived]:
            size = self._try(seat, left)
            if size is not None:
                break
        already = seat.arrived.intersection(row.row for row in rows)
        seat.arrived -= already
        return Commit(self.version, len(left), size or 0, frozenset(already))

    def committed(self) -> CommittedRows:
        """All rows that are committed, over all partitions, as of now. Raises `OutputError`."""
        self.ledger.refresh()
        return self._read(None)

    def counts(self) -> dict[str, int]:
        """Rows per status, as of now. Raises `OutputError`."""
        self.ledger.refresh()
        counts = dict.fromkeys(STATUSES, 0)
        for file in active_files(self.ledger.table):
            counts[file.status] += file.count(self.files)
        return counts

    def close(self) -> None:
        """Let go of the table and its connections. The object is of no use afterwards."""
        self._seats.clear()
        del self.ledger, self.files

    def _try(self, seat: _Seat, rows: list[Finished]) -> int | None:
        """Bytes of the data files when the rows are in; None when, instead, rows of a commit given
        up earlier have turned up. Raises `Superseded`, `OutputError`."""
        seat.used = ticket = seat.used.next()
        parts, last = self._write(rows, seat)
        seat.lost[ticket] = frozenset(row.row for row in rows), last
        number = self.ledger.advance(
            seat.application,
            old=seat.landed.pack(),
            new=ticket.pack(),
            actions=[part.action() for part in parts],
            noted={f"weft.head.{seat.partition}": f"{last.sequence} {last.link}"},
        )
        found = Ticket.unpack(number)
        if found not in seat.lost:
            # The parts stay: our commit may have landed just before the other's.
            del self._seats[seat.partition]
            raise Superseded(f"partition {seat.partition} has a newer writer (claim {found.claim})")
        arrived, seat.chain = seat.lost[found]
        # What is in the table shuts out all that was tried before it.
        seat.landed, seat.lost = found, {}
        if found == ticket:
            return sum(part.bytes for part in parts)
        seat.arrived |= arrived
        return None

    def patiently(self, step: Callable[[], T], what: str) -> T:
        """What `step` returns, tried again while the store fails; then `OutputError`, which says
        `what` and why."""
        return patiently(
            step, what=what, seconds=self._patience, storage_options=self._storage_options
        )

    def _read(self, partition: int | None) -> CommittedRows:
        return self.patiently(
            lambda: read_rows(
                self.ledger.table, self.files, partition=partition, partitions=self.partitions
            ),
            "the committed rows cannot be read back",
        )

    def _last_link(self, partition: int) -> Link:
        found = self.patiently(
            lambda: last_link(
                self.ledger.table, self.files, partition=partition, partitions=self.partitions
            ),
            "the end of the chain cannot be read back",
        )
        return found or beginning(str(self.ledger.table.metadata().id), partition)

    def _retried(self, partition: int, committed: CommittedRows) -> dict[int, list[Earlier]]:
        return self.patiently(
            lambda: retried.read(
                self.files,
                partition=partition,
                partitions=self.partitions,
                committed=committed,
            ),
            "what is on record of retried rows cannot be read",
        )

    def _write(self, rows: list[Finished], seat: _Seat) -> tuple[list[Part], Link]:
        return self.patiently(
            lambda: write_parts(
                self.files,
                rows,
                partition=seat.partition,
                number=seat.used.pack(),
                before=seat.chain,
            ),
            f"{len(rows)} rows cannot be written",
        )


def claim_generation(table: OutputTable, name: str) -> int:
    """A number for `name` that is higher than all given before, kept in the table itself.

    Numbers may be skipped. Raises `OutputError` when the store fails for too long."""
    application = f"weft/generation/{name}"
    while True:
        table.ledger.refresh()
        old = table.ledger.number(application)
        # Another process may have written the same number: a nonce in the low bits tells ours.
        mine = Ticket.unpack(old).new_claim()
        if table.ledger.advance(application, old=old, new=mine.pack()) == mine.pack():
            return mine.claim


def application_of(partition: int) -> str:
    """The app transaction's name of a writer partition."""
    return f"weft/writer/{partition}"


def _check(rows: Sequence[Finished], partition: int, partitions: int) -> None:
    keys = {row.row for row in rows}
    if len(keys) != len(rows):
        raise ValueError("a batch holds a row twice")
    if any(partition_of(key, partitions) != partition for key in keys):
        raise ValueError(f"a batch holds rows that are not of partition {partition}")
    if not {row.status for row in rows} <= set(STATUSES):
        raise ValueError(f"a row's status must be one of {', '.join(STATUSES)}")
