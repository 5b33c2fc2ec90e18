"""The membership as the directory publishes it: numbered, and whole each time.

Never deltas: an "up" that arrives after its "down" would name a dead process for ever.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import msgspec

Role = Literal["source", "agent", "writer"]


class Member(msgspec.Struct, array_like=True, frozen=True):
    """One live process. A process that starts again is another member."""

    incarnation: int
    """Unique and rising over the whole life of a pipeline."""
    role: Role
    name: str
    """For people: the pod on a cluster, `pool-N` on a laptop."""
    address: str
    """`host:port` of its stream server."""
    step: str = ""
    pool: str = ""
    revision: str = ""
    draining: bool = False
    """Finishes what it holds and takes nothing new."""
    partitions: tuple[int, ...] = ()
    """For writers: the partitions of the rows that it commits."""
    weight: int = 1
    """Share of new rows among the instances of its step."""


class View(msgspec.Struct, array_like=True, frozen=True, dict=True):
    """Everyone alive, by the directory of this generation."""

    generation: int
    """Of the directory: a new head has a higher one."""
    number: int
    high: int
    """The highest incarnation ever given out; who is not above it and not a member is dead."""
    members: tuple[Member, ...] = ()
    writer_partitions: int = 1

    @property
    def version(self) -> tuple[int, int]:
        return (self.generation, self.number)

    @cached_property
    def by_incarnation(self) -> dict[int, Member]:
        return {member.incarnation: member for member in self.members}

    @cached_property
    def by_step(self) -> dict[str, list[Member]]:
        """Agents that take new rows, by step. A step whose agents all drain keeps them: late is
        better than never."""
        steps: dict[str, list[Member]] = {}
        for member in self.members:
            if member.role == "agent":
                steps.setdefault(member.step, []).append(member)
        return {
            step: [member for member in members if not member.draining] or members
            for step, members in steps.items()
        }

    @cached_property
    def mixed(self) -> frozenset[str]:
        """Steps served by more than one revision of one pool at the moment."""
        revisions: dict[tuple[str, str], set[str]] = {}
        for step, members in self.by_step.items():
            for member in members:
                revisions.setdefault((step, member.pool), set()).add(member.revision)
        return frozenset(step for (step, _), found in revisions.items() if len(found) > 1)

    @cached_property
    def writers(self) -> dict[int, int]:
        """Partition -> incarnation of its writer. (The directory gives no partition to two.)"""
        return {
            partition: member.incarnation
            for member in self.members
            if member.role == "writer"
            for partition in member.partitions
        }

    @cached_property
    def source(self) -> int:
        """Incarnation of the source, 0 where there is none at the moment; the newest of several."""
        return max((m.incarnation for m in self.members if m.role == "source"), default=0)

    def writer_of(self, row: int) -> int:
        """Incarnation of the writer that commits this row; 0 where there is none at the moment."""
        return self.writers.get(partition_of(row, self.writer_partitions), 0)

    def is_dead(self, incarnation: int) -> bool:
        """True for a process that was a member once and is no longer."""
        return incarnation <= self.high and incarnation not in self.by_incarnation


EMPTY_VIEW = View(generation=0, number=0, high=0)


def partition_of(row: int, partitions: int) -> int:
    """The writer partition that commits this row."""
    return row % partitions
