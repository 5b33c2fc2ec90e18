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
        self.done: dict[int, Done] = {}

    def answer(self, member: int, answer: CensusAnswer) -> bool:
        """Take one answer in; True when it was the last."""
        if answer.number != self.number or member not in self.waiting:
            return False
        self.waiting.discard(member)
        for row, epoch in answer.held:
            self.held[row] = max(epoch, self.held.get(row, 0))
        for done in answer.done:
            self.done[done.row] = done
        return not self.waiting

    def missing(self) -> set[int]:
        """Rows asked after that nobody holds and nobody has committed."""
        return {row for row in self.rows or () if row not in self.held and row not in self.done}
