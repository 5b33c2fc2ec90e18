"""The head: the directory and the source, which live and die together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from weft.protocol.committed import ORDINAL_BITS
from weft.protocol.directory import Directory, Joining
from weft.protocol.source import SourceNode
from weft.protocol.view import Member, Role
from weft.simulation.agent_process import Body, encode_body
from weft.simulation.process import Process

if TYPE_CHECKING:
    from weft.simulation.world import World

LEASE = 2.0
GRACE = 3.0
"""Seconds that a new directory waits for those that its predecessor knew."""


class HeadProcess(Process):
    role: Role = "source"
    node: SourceNode | None

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.directory: Directory | None = None
        self._rows: Iterator[int] | None = None
        self._next: int | None = None
        self._done: set[int] = set()
        self._accepted: set[int] = set()
        self._published = (0, 0)

    def start(self) -> None:
        super().start()
        world = self.world
        schedule = world.schedule
        now = world.clock.now
        generation = world.table.claim_generation()
        self._directory = self
        self._done = set()
        self.directory = world.machines.directory(
            generation=generation,
            lease=LEASE,
            now=now,
            writers=schedule.writers,
            writer_partitions=schedule.partitions,
            grace=GRACE if generation > 1 else 0.0,
        )
        member = self.directory.join(self.joining(0), now)
        assert member is not None
        self.incarnation = member.incarnation
        world.network.by_incarnation[self.incarnation] = self
        self.node = world.machines.source(
            self.incarnation,
            entry=schedule.entry,
            generation=generation,
            max_rows=schedule.max_rows,
            max_uncommitted=schedule.max_rows,
            max_bytes=schedule.max_bytes,
            seed=schedule.seed,
        )
        world.fit(self.node)
        if generation > 1:
            self.node.adopt(now)
        self._rows = None
        self._next = None

    def kill(self) -> None:
        if self.node is not None:
            self.world.oracle.reissued += self.node.reissued
        super().kill()
        self.directory = None

    def joining(self, incarnation: int) -> Joining:
        return Joining("source", self.name, self.name, incarnation=incarnation)

    def beat(self) -> None:
        directory = self.directory
        assert directory is not None
        now = self.world.clock.now
        directory.heartbeat(self.incarnation, now)
        gone = directory.tick(now)
        for member in gone:
            self.world.trace("lease ran out", member.name, member.incarnation)
        self.world.struck["lease ran out"] += len(gone)
        self._publish()

    # what members ask

    def heard(self, process: Process, life: int, joining: Joining) -> None:
        """A process joins, or renews its lease: one call for both."""
        directory = self.directory
        assert directory is not None
        now = self.world.clock.now
        asked = joining.incarnation
        if asked and directory.heartbeat(asked, now):
            member: Member | None = directory.members[asked]
        else:
            member = directory.join(joining, now)
        self._publish()
        view = directory.view(now)
        version = joining.view.version if joining.view is not None else (0, 0)
        newer = view if view is not None and view.version > version else None
        if process.life == life:
            self.world.network.call(self, process, process.answered, self, asked, member, newer)

    def drains(self, incarnation: int) -> None:
        assert self.directory is not None
        self.directory.change(incarnation, draining=True)
        self._publish()

    def left(self, incarnation: int) -> None:
        assert self.directory is not None
        self.directory.leave(incarnation)
        self._publish()

    def _publish(self) -> None:
        directory = self.directory
        assert directory is not None
        view = directory.view(self.world.clock.now)
        if view is None or view.version <= self._published:
            return
        self._published = view.version
        self.viewed(self, view)
        for member in view.members:
            process = self.world.network.by_incarnation.get(member.incarnation)
            if process is not None and process is not self:
                self.world.network.call(self, process, process.viewed, self, view)

    # the source

    def flush(self) -> None:
        self._feed()
        super().flush()

    def _feed(self) -> None:
        """Issue rows as there is room, in order. What the table has is read once the adoption is
        over, so that hardly any row is issued in vain."""
        node = self.node
        if node is None:
            return
        world = self.world
        now = world.clock.now
        for done in node.ended:
            world.oracle.told(self.incarnation, done)
            self._done.add(done.row)
            if done.status == "accepted":
                self._accepted.add(done.row)
        node.ended.clear()
        while node.room():
            if self._rows is None:
                ends = world.table.ends
                self._rows = iter([row for row in world.rows if row not in ends])
                self._accepted = {row for row in ends if ends[row] == "accepted"}
                self._next = next(self._rows, None)
            row = self._next
            if row is None:
                return
            if row not in self._done and not self.wants(node, row):
                return
            known = row in node.outstanding
            if row in self._done:
                pass
            elif row in world.buried:
                node.bury(row, encode_body(Body(row)), "its line is no JSON", now)
            else:
                node.issue(row, encode_body(Body(row)), now, priority=(row * 7919) % 3)
            if not known:
                world.oracle.issued(node)
            self._next = next(self._rows, None)

    def wants(self, node: SourceNode, row: int) -> bool:
        return node.needed(row, self.world.schedule.target, len(self._accepted))

    def fenced(self) -> None:
        """A source whose own directory calls it dead: it starts anew as a whole."""
        self.world.struck["head found itself dead"] += 1
        self.kill()
        if not self.replaced:
            self.world.revive(self)


def row_key(ordinal: int, partitions: int) -> int:
    """Rows are dealt to the source partitions in turn."""
    return (ordinal % partitions) << ORDINAL_BITS | ordinal // partitions
