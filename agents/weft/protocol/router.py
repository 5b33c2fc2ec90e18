"""Which instance of a step gets the row."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from weft.protocol.view import Member

HOME_SLACK = 16
"""A row goes home (to the instance that had it, whose engine may still hold the dialogue's prefix)
unless that one has this many messages more than the other candidate."""


def choose(
    members: Sequence[Member], home: int, load: Callable[[int], int], rng: random.Random
) -> int:
    """Incarnation of the chosen member: power of two choices by load per weight, with a liking for
    `home` (0: none). A member of weight 0 gets only rows that are at home there."""
    if len(members) == 1:
        return members[0].incarnation
    at_home = next((member for member in members if member.incarnation == home), None)
    open_members = [member for member in members if member.weight > 0] or list(members)
    if len(open_members) == 1:
        other = open_members[0]
    else:
        first, second = rng.sample(open_members, 2)
        other = min(
            first, second, key=lambda member: load(member.incarnation) / max(member.weight, 1)
        )
    if at_home is not None and load(home) <= load(other.incarnation) + HOME_SLACK:
        return home
    return other.incarnation
