"""The durable store as the writers see it: a table with app transactions, and claims on it.

It does what `weft.data.table` promises, without a disk: one writer a partition, a commit is atomic
and conditional on the number of the one before, and one that was given up can have come in after
all, which its writer finds out by that number.
"""

from __future__ import annotations

from collections.abc import Sequence

from weft.protocol.writer import Finished

Ticket = tuple[int, int]
"""(claim, number of the commit under it)."""


class Table:
    """Lives as long as the world; no fault touches it."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.newest: list[Ticket] = [(0, 0)] * partitions
        self.rows: list[Finished] = []
        """In the order of their commits, as a multiset: a row that is here twice is a bug."""
        self.ends: dict[int, str] = {}
        self._generation = 0

    def claim_generation(self) -> int:
        """Higher than all given before."""
        self._generation += 1
        return self._generation

    def claim(self, partition: int) -> tuple[Ticket, list[tuple[int, str]]]:
        """Become the partition's only writer: the ticket of the claim, and the ends of its rows."""
        ticket = self.newest[partition] = (self.newest[partition][0] + 1, 0)
        ends = [(row, end) for row, end in self.ends.items() if row % self.partitions == partition]
        return ticket, ends

    def advance(self, partition: int, old: Ticket, new: Ticket, rows: Sequence[Finished]) -> Ticket:
        """Put the rows in if `old` is the newest ticket. Returns the newest ticket then."""
        if self.newest[partition] == old:
            self.newest[partition] = new
            for finished in rows:
                self.rows.append(finished)
                self.ends.setdefault(finished.row, finished.status)
        return self.newest[partition]


class Superseded(Exception):
    """Another writer has claimed the partition."""


class Seat:
    """What a writer knows of its own commits in one partition."""

    def __init__(self, ticket: Ticket) -> None:
        self.landed = ticket
        self.used = ticket
        self.lost: dict[Ticket, frozenset[int]] = {}
        """Tried, and not known to be in the table."""
        self.arrived: set[int] = set()
        """Rows of commits that were given up and came in after all."""

    def next(self, rows: Sequence[Finished]) -> Ticket:
        self.used = (self.used[0], self.used[1] + 1)
        self.lost[self.used] = frozenset(finished.row for finished in rows)
        return self.used

    def found(self, ticket: Ticket) -> None:
        """That of the commit that is the newest in the table. Raises `Superseded`."""
        if ticket not in self.lost:
            raise Superseded
        if ticket != self.used:
            self.arrived |= self.lost[ticket]
        self.landed = ticket
        self.lost.clear()
