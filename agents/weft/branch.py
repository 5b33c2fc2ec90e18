"""A branch of a divided row, as the agent sees it at the step where they come together."""

from __future__ import annotations

import msgspec

from weft.row import Row


class Branch(msgspec.Struct):
    """`row` is the branch's own copy of the row, with all that its agents made of it."""

    index: int
    """From 1, in the order of the manifest's `fanOut.branches`."""
    row: Row
    end: str = ""
    """`$reject` or `$dead` for one that ended before the join; `row` is as it was then."""
    reason: str = ""
    """Why, for such a one."""

    @property
    def arrived(self) -> bool:
        """Whether it has come to the join by the flow's own ways."""
        return not self.end
