"""A writer: claims its partitions, commits batches, and can die at any point of a commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.protocol.committed import CommittedRows
from weft.protocol.directory import Joining
from weft.protocol.view import Member, Role
from weft.protocol.writer import Batch, WriterNode
from weft.simulation.process import Process
from weft.simulation.table import Seat, Superseded, Ticket

if TYPE_CHECKING:
    from weft.simulation.world import World

COMMITS_IN = 0.1
"""Mean seconds that a commit takes."""
TRIES_AGAIN_AFTER = 0.3


class WriterProcess(Process):
    role: Role = "writer"
    node: WriterNode | None

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self._owned: tuple[int, ...] = ()
        self._seats: dict[int, Seat] = {}

    def joining(self, incarnation: int) -> Joining:
        owned = self._owned if incarnation else ()
        return Joining("writer", self.name, self.name, partitions=owned, incarnation=incarnation)

    def make_node(self, member: Member) -> WriterNode:
        world = self.world
        schedule = world.schedule
        self._owned = member.partitions
        committed = CommittedRows()
        for partition in member.partitions:
            ticket, ends = world.table.claim(partition)
            self._seats[partition] = Seat(ticket)
            committed.update(ends)
        return world.machines.writer(
            member.incarnation,
            partitions=schedule.partitions,
            owned=member.partitions,
            committed=committed,
            interval=schedule.interval,
            max_batch=schedule.max_batch,
            seed=schedule.seed,
        )

    def flush(self) -> None:
        node = self.node
        if node is not None:
            for partition in node.due(self.world.clock.now):
                self._commit(node, node.take_batch(partition))
        super().flush()

    def _commit(self, node: WriterNode, batch: Batch) -> None:
        """One attempt. What the store does, it does whether or not this process lives."""
        world = self.world
        partition = batch.partition
        seat = self._seats[partition]
        left = [finished for finished in batch.rows if finished.row not in seat.arrived]
        if not left:
            self._in(node, batch)
            return
        old = seat.landed
        new = seat.next(left)
        fault = world.commit_fault()
        takes = COMMITS_IN * 2 * world.rng.random()
        life = self.life

        def store() -> None:
            found = world.machines.advance(world.table, partition, old, new, left)
            if found == new:
                world.oracle.committed(partition, left)
                world.trace("commit", self.name, new, [finished.row for finished in left])
            if fault == "death after":
                world.struck["writer died after its commit"] += 1
                world.strike_dead(self, life)
            elif fault == "unknown":
                world.struck["commit applied but reported as failed"] += 1
                self.fire(life, self._failed, node, batch)
            else:
                self.fire(life, self._answered, node, batch, new, found)

        if fault == "before":
            world.struck["commit failed before it was applied"] += 1
            self.later(takes, self._failed, node, batch)
        elif fault == "death before":
            world.struck["writer died before its commit"] += 1
            world.clock.after(takes, world.strike_dead, self, life)
        else:
            world.clock.after(takes, store)

    def _failed(self, node: WriterNode, batch: Batch) -> None:
        """In the table or not: the rows wait for another commit."""
        self.later(TRIES_AGAIN_AFTER, self._give_back, node, batch)

    def _give_back(self, node: WriterNode, batch: Batch) -> None:
        if node is self.node:
            node.failed(batch, self.world.clock.now)

    def _answered(
        self,
        node: WriterNode,
        batch: Batch,
        new: Ticket,
        found: Ticket,
    ) -> None:
        if node is not self.node:
            return
        try:
            self._seats[batch.partition].found(found)
        except Superseded:
            self.world.struck["commit of a superseded writer refused"] += 1
            self.fenced()
            return
        if found == new:
            self._in(node, batch)
        else:
            self.world.struck["commit that was given up found in the table"] += 1
            self._commit(node, batch)

    def _in(self, node: WriterNode, batch: Batch) -> None:
        arrived = self._seats[batch.partition].arrived
        already = frozenset(finished.row for finished in batch.rows if finished.row in arrived)
        arrived -= already
        node.committed(batch, self.world.clock.now, already=already)
