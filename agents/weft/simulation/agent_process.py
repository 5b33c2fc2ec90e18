"""An agent: takes work as its concurrency allows, takes time over it, sends it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.protocol.agent import AgentNode
from weft.protocol.directory import Joining
from weft.protocol.inbox import Work
from weft.protocol.message import DEAD, Message
from weft.protocol.view import Member, Role
from weft.simulation.process import Process
from weft.simulation.schedule import FAN, LONGEST

if TYPE_CHECKING:
    from weft.simulation.world import World

COMES_BACK_AFTER = 2.0
ALONE_SECONDS = 3.0
"""Seconds for which a draining process waits for another one of its step."""
LEAVES_WITHIN = 15.0
"""Seconds after which a draining process ends, whatever it still holds."""


class Hop(msgspec.Struct, array_like=True):
    """One hop as it stands in the body; `mark` tells it from every other hop ever made."""

    step: str
    number: int
    mark: int
    recorded: bool
    """Whether it left a segment."""
    branch: int = 0
    """Of a divided row: which one made it."""


class Body(msgspec.Struct, array_like=True):
    """A row's body in the simulation: its own history."""

    row: int
    hops: list[Hop] = []
    """Those of branches stand between the hop that divided the row and the one that joined it, in
    the order of the branches; a branch that died says so with a last hop in `$dead`, mark 0."""


encode_body = msgspec.msgpack.Encoder().encode
decode_body = msgspec.msgpack.Decoder(Body).decode


class AgentProcess(Process):
    role: Role = "agent"
    node: AgentNode | None

    def __init__(self, world: World, name: str, step: str) -> None:
        super().__init__(world, name)
        self.step = step
        self.slowness = 1.0
        self.draining = False
        self.drain_began = 0.0

    def start(self) -> None:
        super().start()
        self.draining = False

    def joining(self, incarnation: int) -> Joining:
        return Joining(
            "agent", self.name, self.name, step=self.step, pool=self.step, incarnation=incarnation
        )

    def make_node(self, member: Member) -> AgentNode:
        schedule = self.world.schedule
        return self.world.machines.agent(
            member.incarnation,
            step=self.step,
            seed=schedule.seed,
            fence_rows=schedule.fence_rows,
            max_crashes=schedule.max_crashes,
        )

    def drain(self) -> None:
        """SIGTERM: finish or hand back, then leave."""
        if self.node is None or self.draining:
            return
        self.world.trace("drain", self.name)
        self.draining = True
        self.drain_began = self.world.clock.now
        self.later(LEAVES_WITHIN, self._leave)

    def _tick(self) -> None:
        super()._tick()
        node = self.node
        if not self.draining:
            return
        if node is None:
            self._leave()
            return
        head = self.world.head
        self.world.network.call(self, head, head.drains, self.incarnation)
        before = len(node.inbox)
        node.hand_back(self.world.clock.now)
        self.world.struck["message handed back"] += max(0, before - len(node.inbox))
        if node.alone() and self.world.clock.now - self.drain_began >= ALONE_SECONDS:
            node.close()
        if node.idle() or node.may_leave():
            self.world.struck["left in order" if node.idle() else "left alone"] += 1
            self.flush()
            self._leave()

    def _leave(self) -> None:
        if self.draining:
            head = self.world.head
            self.world.network.call(self, head, head.left, self.incarnation)
            self.kill()
            self.world.clock.after(COMES_BACK_AFTER, self.world.revive, self)

    def flush(self) -> None:
        node = self.node
        if node is not None:
            world = self.world
            now = world.clock.now
            schedule = world.schedule
            while len(node.in_work) < schedule.concurrency and (work := node.take(now)) is not None:
                took = schedule.work * self.slowness * (0.4 + 1.2 * world.rng.random())
                self.later(took, self._finish, node, work)
        super().flush()

    def _finish(self, node: AgentNode, work: Work) -> None:
        if node is not self.node:
            return
        world = self.world
        schedule = world.schedule
        rng = world.rng
        now = world.clock.now
        message = work.message
        step = schedule.poison_step or schedule.entry
        if message.row in world.poisonous and self.step == step and message.branch is None:
            world.struck["killed by a poison row"] += 1
            self.kill()
            world.clock.after(0.5, self.world.revive, self)
            return
        body = joined_body(work) if work.branches else decode_body(message.body)
        if work.branches:
            world.struck["branches joined"] += 1
        if schedule.failing and rng.random() < schedule.failing:
            world.struck["hop failed"] += 1
            if message.attempts + 1 < schedule.max_attempts:
                node.retry(work)
            else:
                node.complete(
                    work, DEAD, encode_body(body), None, now, reason="it failed too often"
                )
            return
        recorded = not (schedule.silent and rng.random() < schedule.silent)
        branch = message.branch.index if message.branch is not None else 0
        hop = Hop(self.step, message.hop + 1, world.mark(), recorded, branch)
        body.hops.append(hop)
        ways = schedule.steps[self.step]
        to = ways[-1] if len(body.hops) >= LONGEST else rng.choice(ways)
        lane, tag = message.lane, work.tag
        segment = encode_hop(hop) if recorded else None
        if to == FAN:
            fan = schedule.fans[self.step]
            empty = encode_body(Body(message.row))
            parts = [(step, empty) for step in fan.branches]
            effective = node.divide(work, parts, fan.join, encode_body(body), segment, now)
            world.struck["row divided"] += effective
        else:
            effective = node.complete(work, to, encode_body(body), segment, now)
        if effective:
            world.oracle.effective(self.incarnation, lane, tag)
            world.trace("hop", self.name, lane, tag, to)
        else:
            world.struck["work found vain"] += 1


def joined_body(work: Work) -> Body:
    """What the row was when it was divided, and what its branches did."""
    row, *branches = (part.message for part in work.branches)
    body = decode_body(row.body)
    for message in branches:
        body.hops += _hops_of(message)
    return body


def _hops_of(branch: Message) -> list[Hop]:
    assert branch.branch is not None
    hops = decode_body(branch.body).hops
    if branch.branch.end == DEAD:
        hops.append(Hop(DEAD, branch.hop, 0, False, branch.branch.index))
    return hops


encode_hop = msgspec.msgpack.Encoder().encode
decode_hop = msgspec.msgpack.Decoder(Hop).decode
