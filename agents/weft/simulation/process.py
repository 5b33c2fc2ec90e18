"""A process on a machine that can die: its life, its place in the membership, its node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from weft.protocol.directory import Joining
from weft.protocol.message import decode_frame, encode_frame
from weft.protocol.node import Node
from weft.protocol.view import Member, Role, View

if TYPE_CHECKING:
    from weft.simulation.world import World

TICK = 0.7
"""Seconds between ticks of a node, each with a heartbeat."""


class Process:
    """Starts, joins, serves, and is killed or paused from outside.

    `fire` is the only door for anything that happens in it: what was meant for an earlier life is
    void, and what comes while it is paused waits, as in the buffers of its sockets.
    """

    role: Role

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.state: Literal["down", "up", "paused"] = "down"
        self.life = 0
        self.incarnation = 0
        self.node: Node | None = None
        self.replaced = False
        """A successor has its place: once it learns that it is dead, it ends for good."""
        self._directory: Process | None = None
        """That has answered us last: no other's views count."""
        self._missed: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    # from outside

    def start(self) -> None:
        self.state = "up"
        self.life += 1
        self.node = None
        self.incarnation = 0
        self._missed = []
        self.world.clock.after(self.world.rng.random() * TICK, self.fire, self.life, self._tick)

    def kill(self) -> None:
        """SIGKILL."""
        if self.state == "down":
            return
        self.world.trace("kill", self.name)
        self.world.network.break_all(self)
        self.state = "down"
        self.life += 1
        self.node = None
        self.incarnation = 0

    def pause(self) -> None:
        """SIGSTOP."""
        if self.state == "up":
            self.world.trace("pause", self.name)
            self.state = "paused"

    def wake(self) -> None:
        """SIGCONT: first comes what has waited."""
        if self.state != "paused":
            return
        self.world.trace("wake", self.name)
        self.state = "up"
        missed, self._missed = self._missed, []
        life = self.life
        for act, args in missed:
            self.fire(life, act, *args)

    def fire(self, life: int, act: Callable[..., None], *args: Any) -> None:
        """Have something happen in this process, if it is still the one that was meant."""
        if life != self.life or self.state == "down":
            return
        if self.state == "paused":
            self._missed.append((act, args))
            return
        act(*args)
        self.flush()

    def later(self, delay: float, act: Callable[..., None], *args: Any) -> None:
        """A timer of this life."""
        self.world.clock.after(delay, self.fire, self.life, act, *args)

    # the wire

    def accepts(self, peer: int) -> bool:
        return self.node is not None and self.node.accepts_peer(peer)

    def connected(self, peer: int) -> None:
        if self.node is not None:
            self.node.connect(peer, self.world.clock.now)

    def disconnected(self, peer: int) -> None:
        if self.node is not None:
            self.node.disconnect(peer, self.world.clock.now)

    def arrived(self, peer: int, data: bytes) -> None:
        if self.node is not None:
            self.node.receive(peer, decode_frame(data), self.world.clock.now)

    def flush(self) -> None:
        """Put on the wire what the node has for it."""
        node = self.node
        if node is None:
            return
        world = self.world
        network = world.network
        for peer, frame in node.outgoing(world.clock.now):
            network.send(self, peer, encode_frame(frame))
        for peer, link in node.links.items():
            if not link.connected:
                network.dial(self, peer)

    # the membership

    def joining(self, incarnation: int) -> Joining:
        raise NotImplementedError

    def make_node(self, member: Member) -> Node:
        raise NotImplementedError

    def _tick(self) -> None:
        self.later(TICK, self._tick)
        node = self.node
        if node is not None:
            node.tick(self.world.clock.now)
        self.beat()

    def beat(self) -> None:
        """Ask the directory to join, or to renew the lease."""
        head = self.world.head
        joining = self.joining(self.incarnation)
        if self.node is not None:
            joining.view = self.node.view
        self.world.network.call(self, head, head.heard, self, self.life, joining)

    def answered(
        self, directory: Process, asked: int, member: Member | None, view: View | None
    ) -> None:
        """The directory's answer to a process that had the incarnation `asked`."""
        if asked != self.incarnation:
            return
        self._directory = directory
        if member is None:
            if asked:
                self.fenced()
            return
        if asked == 0:
            self.incarnation = member.incarnation
            self.world.trace("joined", self.name, self.incarnation)
            self.world.network.by_incarnation[self.incarnation] = self
            self.node = self.make_node(member)
            self.world.fit(self.node)
        if view is not None:
            self.viewed(directory, view)

    def viewed(self, directory: Process, view: View) -> None:
        node = self.node
        if node is None or directory is not self._directory:
            return
        node.apply_view(view, self.world.clock.now)
        if node.fenced_off:
            self.fenced()

    def fenced(self) -> None:
        """Declared dead: all that the node holds is void."""
        self.world.struck["zombie found itself dead"] += 1
        self.world.trace("fenced", self.name, self.incarnation)
        self.world.network.break_all(self)
        self.node = None
        self.incarnation = 0
        if self.replaced:
            self.state = "down"
            self.life += 1
