"""A few machines side by side, with frames that arrive at once; no clock but `now`."""

from __future__ import annotations

from weft.protocol.agent import AgentNode
from weft.protocol.committed import CommittedRows
from weft.protocol.message import decode_frame, encode_frame
from weft.protocol.node import Node
from weft.protocol.source import SourceNode
from weft.protocol.view import Member, View
from weft.protocol.writer import WriterNode

SOURCE = 1
WRITER = 2


class Cluster:
    """`agents`: incarnation -> step. `pass_on` carries frames until nothing moves."""

    def __init__(self, agents: dict[int, str], *, max_rows: int = 100, **more: object) -> None:
        self.now = 0.0
        self.source = SourceNode(
            SOURCE, entry="a", generation=1, max_rows=max_rows, max_bytes=1 << 20
        )
        self.writer = make_writer(WRITER)
        self.agents = {i: AgentNode(i, step=step, **more) for i, step in agents.items()}  # type: ignore[arg-type]
        self.nodes: dict[int, Node] = {SOURCE: self.source, WRITER: self.writer, **self.agents}
        self.draining: set[int] = set()
        self.number = 0
        self.publish()
        self.connect_all()

    def member(self, incarnation: int) -> Member:
        node = self.nodes[incarnation]
        name = f"n{incarnation}"
        if isinstance(node, SourceNode):
            return Member(incarnation, "source", name, "")
        if isinstance(node, WriterNode):
            return Member(incarnation, "writer", name, "", partitions=node.owned)
        assert isinstance(node, AgentNode)
        draining = incarnation in self.draining
        return Member(incarnation, "agent", name, "", step=node.step, draining=draining)

    def publish(self) -> None:
        """A view with everyone in `nodes`, to everyone."""
        self.number += 1
        high = max(self.nodes, default=0)
        self.high = max(getattr(self, "high", 0), high)
        view = View(1, self.number, self.high, tuple(self.member(i) for i in self.nodes))
        for node in self.nodes.values():
            node.apply_view(view, self.now)

    def connect_all(self) -> None:
        for a in self.nodes:
            for b in self.nodes:
                if a != b:
                    self.nodes[a].connect(b, self.now)

    def kill(self, incarnation: int, *, tell: bool = True) -> Node:
        node = self.nodes.pop(incarnation)
        self.agents.pop(incarnation, None)
        for other in self.nodes.values():
            other.disconnect(incarnation, self.now)
        if tell:
            self.publish()
        return node

    def add(self, incarnation: int, step: str) -> AgentNode:
        node = self.nodes[incarnation] = self.agents[incarnation] = AgentNode(
            incarnation, step=step
        )
        self.publish()
        self.connect_all()
        return node

    def pass_on(self, *, seconds: float = 1.0) -> None:
        """Frames to and fro, and time for what waits for company."""
        for _ in range(5):
            moved = True
            while moved:
                moved = False
                for sender, node in list(self.nodes.items()):
                    for peer, frame in list(node.outgoing(self.now)):
                        moved = True
                        if peer in self.nodes:
                            data = encode_frame(frame)
                            self.nodes[peer].receive(sender, decode_frame(data), self.now)
            self.now += seconds / 5
            for node in self.nodes.values():
                node.tick(self.now)

    def hop(self, incarnation: int, to: str, segment: bytes | None = b"s") -> int:
        """The agent handles its next message. Returns the row."""
        node = self.agents[incarnation]
        work = node.take(self.now)
        assert work is not None
        node.complete(work, to, work.message.body + b".", segment, self.now)
        return work.message.row

    def commit(self) -> list[int]:
        """The writer commits what it has."""
        rows = []
        for partition in self.writer.due(self.now, flush=True):
            batch = self.writer.take_batch(partition)
            self.writer.committed(batch, self.now)
            rows += [finished.row for finished in batch.rows]
        return rows

    def kept(self) -> dict[int, int]:
        """Incarnation -> messages and segments that it keeps."""
        return {i: len(node.outbox) for i, node in self.nodes.items() if len(node.outbox)}


def make_writer(incarnation: int, committed: CommittedRows | None = None) -> WriterNode:
    return WriterNode(
        incarnation, partitions=1, owned=(0,), committed=committed or CommittedRows(), interval=1.0
    )
