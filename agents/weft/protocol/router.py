"""Which instance of a step gets the row; and which one all branches of a row come together at."""

from __future__ import annotations

import math
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


def meeting_place(members: Sequence[Member], row: int) -> int:
    """Incarnation of the member that all branches of the row go to: by weighted rendezvous hashing
    (Schindelhauer and Schomaker), so that everybody with the same view names the same one, and few
    rows are moved when a member comes or goes. A member of weight 0 gets none while others do."""
    open_members = [member for member in members if member.weight > 0] or members
    return min(open_members, key=lambda member: _distance(row, member)).incarnation


def _distance(row: int, member: Member) -> tuple[float, int]:
    dice = (_mixed(row ^ _mixed(member.incarnation)) + 1) / (_WORD + 2)
    return -math.log(dice) / max(member.weight, 1), member.incarnation


_WORD = (1 << 64) - 1


def _mixed(number: int) -> int:
    """The finalizer of SplitMix64: unlike `hash`, the same in every process and version."""
    number = (number + 0x9E3779B97F4A7C15) & _WORD
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _WORD
    return number ^ (number >> 31)
