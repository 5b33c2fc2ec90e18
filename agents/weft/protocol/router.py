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
    open_members = [member for member in members if member.weight > 0] or members
    count = len(open_members)
    other = open_members[0]
    if count > 1:
        # `rng.sample` takes as long as half a hop.
        i = int(rng.random() * count)
        j = int(rng.random() * (count - 1))
        other, rival = open_members[i], open_members[j + (j >= i)]
        if load(rival.incarnation) * max(other.weight, 1) < load(other.incarnation) * max(
            rival.weight, 1
        ):
            other = rival
    at_home = home and any(member.incarnation == home for member in members)
    if at_home and load(home) <= load(other.incarnation) + HOME_SLACK:
        return home
    return other.incarnation
