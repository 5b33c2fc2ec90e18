"""The number of a commit: tells whose it is, and which of several writers may go on.

Delta keeps one rising number per application id (an "app transaction") and refuses a commit when a
concurrent one has written the same id. It does not refuse an old number, and does not say who wrote
the one it has. So a writer's number says both: who claimed (count and nonce), and which commit.
"""

from __future__ import annotations

import secrets

import msgspec

_NONCE_BITS = 20
_SEQUENCE_BITS = 24


class Ticket(msgspec.Struct, frozen=True, order=True):
    """`claim` 19 bits | `nonce` 20 bits | `sequence` 24 bits: together an int64 above 0.

    Enough for 524,287 starts of a writer, and 16 million commits in each (a commit every second for
    half a year). Two writers that claim at the same moment take the same `claim`; only one of their
    commits wins, and the nonce tells whose (wrong once in a million of such races).
    """

    claim: int
    nonce: int
    sequence: int

    @classmethod
    def unpack(cls, number: int | None) -> Ticket:
        """From a table's number; None is the ticket before the first."""
        number = number or 0
        return cls(
            number >> (_NONCE_BITS + _SEQUENCE_BITS),
            number >> _SEQUENCE_BITS & ((1 << _NONCE_BITS) - 1),
            number & ((1 << _SEQUENCE_BITS) - 1),
        )

    def pack(self) -> int:
        return (self.claim << _NONCE_BITS | self.nonce) << _SEQUENCE_BITS | self.sequence

    def new_claim(self) -> Ticket:
        """The first ticket of a writer that takes over from this one."""
        return Ticket(self.claim + 1, secrets.randbelow(1 << _NONCE_BITS), 0)

    def next(self) -> Ticket:
        """The ticket of the same writer's next commit."""
        if self.sequence + 1 >= 1 << _SEQUENCE_BITS:
            raise OverflowError("a writer makes at most 16 million commits; start it again")
        return Ticket(self.claim, self.nonce, self.sequence + 1)
