"""The protocol in one process: the same machines, frames and agents, without sockets, processes,
Ray or commits. What a hop costs above this is the price of distribution."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

import msgspec

from weft.bench.fire_and_forget import ForgetfulAgent, ForgetfulSource, ForgetfulWriter
from weft.bench.plans import ECHOES, echo_plan
from weft.engines import make_engine
from weft.protocol.agent import AgentNode
from weft.protocol.committed import CommittedRows
from weft.protocol.inbox import Work
from weft.protocol.message import decode_frame, encode_frame
from weft.protocol.node import Node
from weft.protocol.source import SourceNode
from weft.protocol.view import Member, View
from weft.protocol.writer import WriterNode
from weft.row import Row, encode_row
from weft.runtime import collector
from weft.runtime.hops import Again, Hops, Identity, Passed, make_agent

ROUND = 64
"""Rows that an agent handles before frames go out: as in the agent's process."""


class InProcess(msgspec.Struct):
    """Microseconds of CPU per hop, and what went over the links."""

    total: float
    """The whole hop."""
    handling: float
    """Of it: decode, `handle`, flow, encode, trace segment."""
    frames: float
    """Of it: encoding and decoding frames."""
    bytes: float
    """On the links, per hop."""
    frames_per_hop: float
    hops: int

    @property
    def protocol(self) -> float:
        """Of it: the state machines."""
        return self.total - self.handling - self.frames


def measure(*, rows: int, in_flight: int, chars: int = 1024, guaranteed: bool = True) -> InProcess:
    """Run `rows` rows of the echo pipeline to their end. Not `guaranteed`: by machines that send
    and forget (`fire_and_forget`)."""
    before = gc.get_threshold()
    collector.spare()
    try:
        world = _World(rows, in_flight, chars)
        if not guaranteed:
            world.forget(in_flight)
        return asyncio.run(world.run())
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


class _World:
    def __init__(self, rows: int, in_flight: int, chars: int) -> None:
        plan = echo_plan(Path("/unused"), rows=rows, in_flight=in_flight, chars=chars)
        self.rows = rows
        members = [Member(1, "source", "head", "")]
        members += [
            Member(number, "agent", f"{name}-0", "", step=name, pool=name)
            for number, name in enumerate(ECHOES, 2)
        ]
        members.append(Member(len(members) + 1, "writer", "writer-0", "", partitions=(0,)))
        self.source: Any = SourceNode(
            1, entry=ECHOES[0], generation=1, max_rows=in_flight, max_bytes=1 << 30
        )
        self.agents: list[Any] = [
            AgentNode(number, step=name, fence_rows=max(4096, 4 * in_flight))
            for number, name in enumerate(ECHOES, 2)
        ]
        self.writer: Any = WriterNode(
            len(members), partitions=1, owned=(0,), committed=CommittedRows(), interval=0.2
        )
        self.nodes: dict[int, Any] = {
            node.incarnation: node for node in (self.source, *self.agents, self.writer)
        }
        self.hops = {
            name: Hops(
                plan,
                Identity(name, f"{name}-0", plan.pool(name).revision, ""),
                make_agent(plan, name),
                make_engine(plan.pool(name).engine, seed=plan.seed, environ={}),
            )
            for name in ECHOES
        }
        view = View(1, 1, len(members), tuple(members))
        now = time.monotonic()
        for node in self.nodes.values():
            node.apply_view(view, now)
            for peer in self.nodes:
                if peer != node.incarnation:
                    node.connect(peer, now)
        self.handling = self.encoding = 0.0
        self.made = self.bytes = self.frames = 0

    def forget(self, in_flight: int) -> None:
        """Put machines that promise nothing in place of the real ones."""
        peers = {node.step: node.incarnation for node in self.agents} | {"source": 1}
        writer = self.writer.incarnation
        self.source = ForgetfulSource(1, peers, writer, entry=ECHOES[0], max_rows=in_flight)
        self.agents = [
            ForgetfulAgent(node.incarnation, peers, writer, step=node.step) for node in self.agents
        ]
        self.writer = ForgetfulWriter(writer, peers, writer)
        self.nodes = {node.incarnation: node for node in (self.source, *self.agents, self.writer)}

    async def run(self) -> InProcess:
        began = time.process_time()
        issued = ended = 0
        while ended < self.rows:
            now = time.monotonic()
            while issued < self.rows and self.source.room():
                body = encode_row(Row(str(issued), {"index": issued}))
                self.source.issue(issued, body, now)
                issued += 1
            moved = self._move(self.source, now)
            for agent in self.agents:
                moved |= await self._work(agent, now)
                moved |= self._move(agent, now)
            for partition in self.writer.due(now):
                self.writer.committed(self.writer.take_batch(partition), now)
            moved |= self._move(self.writer, now)
            ended += len(self.source.ended)
            self.source.ended.clear()
            if not moved:
                await asyncio.sleep(0.001)
                for node in self.nodes.values():
                    node.tick(time.monotonic())
        total = time.process_time() - began
        per_hop = 1e6 / self.made
        return InProcess(
            total * per_hop,
            self.handling * per_hop,
            self.encoding * per_hop,
            self.bytes / self.made,
            self.frames / self.made,
            self.made,
        )

    async def _work(self, agent: AgentNode, now: float) -> bool:
        hops, before = self.hops[agent.step], self.made
        began = time.process_time()
        done: list[tuple[Work, Passed | Again]] = []
        while len(done) < ROUND and (work := agent.take(now)) is not None:
            done.append((work, await hops.handle(work.message)))
        self.handling += time.process_time() - began
        for work, outcome in done:
            assert isinstance(outcome, Passed), outcome
            agent.complete(work, outcome.to, outcome.body, outcome.segment, now)
        self.made += len(done)
        return self.made > before

    def _move(self, node: Node, now: float) -> bool:
        """Carry what the node has to send to its receivers, as bytes."""
        moved = False
        for peer, frame in node.outgoing(now):
            began = time.process_time()
            carried = encode_frame(frame)
            arrived = decode_frame(carried)
            self.encoding += time.process_time() - began
            self.bytes += len(carried)
            self.frames += 1
            self.nodes[peer].receive(node.incarnation, arrived, now)
            moved = True
        return moved
