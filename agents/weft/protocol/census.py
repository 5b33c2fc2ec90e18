"""Who holds which rows? Asked of all members, so that rows that died with their holders are issued
again.

A census is no consistent snapshot: a row on the move can be missed, so two in a row must miss it. A
needless new epoch wastes work and harms nothing.
"""

from __future__ import annotations

from weft.protocol.message import CensusAnswer, Done


class Census:
    """One round of asking. `missing` is known once all members have answered."""

    def __init__(self, number: int, rows: set[int] | None, members: set[int], now: float) -> None:
        self.number = number
        self.rows = rows
        self.waiting = set(members)
        self.started = now
        self.held: dict[int, int] = {}
        """Row -> its highest epoch, of all rows that something is held of."""
        self._whole: set[int] = set()
        self._branches: dict[tuple[int, int, int, int], set[int]] = {}
        """By row and division (`HeldBranch`): which of its branches are held."""
        self.done: dict[int, Done] = {}

    def answer(self, member: int, answer: CensusAnswer) -> bool:
        """Take one answer in; True when it was the last."""
        if answer.number != self.number or member not in self.waiting:
            return False
        self.waiting.discard(member)
        for row, epoch in answer.held:
            self.held[row] = max(epoch, self.held.get(row, 0))
            self._whole.add(row)
        for branch in answer.branches:
            row = branch.row
            self.held[row] = max(branch.epoch, self.held.get(row, 0))
            division = (row, branch.epoch, branch.fork, branch.hop)
            there = self._branches.setdefault(division, set())
            there.add(branch.index)
            if len(there) > branch.count:
                self._whole.add(row)
        for done in answer.done:
            self.done[done.row] = done
        return not self.waiting

    def missing(self) -> set[int]:
        """Rows asked after that nobody has committed and nobody holds, or not all branches of."""
        return {row for row in self.rows or () if row not in self._whole and row not in self.done}
