"""What must become of each row: known from its number alone, so that any table can be judged."""

from __future__ import annotations

import msgspec

LARGE_BYTES = 400_000
"""Above the size from which a body stays in Ray's object store (`runtime.parts.LARGE`)."""
DEAD_EVERY, REJECTED_EVERY, LARGE_EVERY = 53, 11, 97


class Fate(msgspec.Struct, frozen=True):
    """A row's way through the flow, and its end."""

    path: list[str]
    status: str
    large: bool

    def after(self, hops: int) -> str:
        """Where the row goes after so many hops."""
        if hops < len(self.path):
            return self.path[hops]
        return "$reject" if self.status == "rejected" else "$accept"


def fate_of(number: int) -> Fate:
    """Drafted, a third of the rows with a tool's answer in between, and judged; up to two times
    sent back. One in 53 fails at its last hop, whenever it is tried."""
    draft = ["draft", "tools", "draft"] if number % 3 == 0 else ["draft"]
    path = [*draft, "judge"] * (1 + number % 3)
    if number % DEAD_EVERY == 7:
        status = "dead"
    else:
        status = "rejected" if number % REJECTED_EVERY == 5 else "accepted"
    return Fate(path, status, number % LARGE_EVERY == 5)
