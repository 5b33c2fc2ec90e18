"""Connections between processes, and all that can happen to a frame on its way."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from weft.simulation.clock import Clock
from weft.simulation.oracle import Broken

if TYPE_CHECKING:
    from collections.abc import Callable

    from weft.simulation.process import Process

REDIAL_AFTER = 0.3
"""Seconds between attempts to connect."""
NOTICED_AFTER = 2.0
"""Seconds after which a blocked connection is noticed to be dead, at the most."""


class _Connection:
    """Between two incarnations; a new one has a new object, so that old frames are lost with it."""

    __slots__ = ("arrivals", "ends")

    def __init__(self, a: Process, b: Process) -> None:
        self.ends = (a, b)
        self.arrivals = {a.incarnation: 0.0, b.incarnation: 0.0}
        """Receiver -> when the last frame so far arrives there: TCP keeps the order."""


class Network:
    """`loss`, `duplication` and `reordering` are shares of the frames; they end with the calm."""

    def __init__(self, clock: Clock, rng: random.Random, struck: Counter[str]) -> None:
        self._clock = clock
        self._rng = rng
        self._struck = struck
        self.delay = 0.005
        self.loss = 0.0
        self.duplication = 0.0
        self.reordering = 0.0
        self.blocked: set[tuple[str, str]] = set()
        """(from, to) by the names of processes."""
        self.cut: set[tuple[str, str]] = set()
        """The same for connections alone: the directory is heard."""
        self._connections: dict[tuple[int, int], _Connection] = {}
        self._dialled: dict[tuple[int, int], float] = {}
        self.by_incarnation: dict[int, Process] = {}
        self.carried = 0

    def latency(self) -> float:
        return self.delay * (0.2 + 1.6 * self._rng.random())

    # calls to and from the directory: lost where blocked, else late

    def call(self, source: Process, target: Process, act: Callable[..., None], *args: Any) -> None:
        """Have `act(*args)` happen at `target`, in its present life, if the way is open."""
        if (source.name, target.name) in self.blocked:
            self._struck["call blocked"] += 1
            return
        if self.loss and self._rng.random() < self.loss:
            self._struck["call lost"] += 1
            return
        self._clock.after(self.latency(), target.fire, target.life, act, *args)

    # connections

    def dial(self, caller: Process, peer: int) -> None:
        """Try to connect, if that was not tried just now."""
        if peer == caller.incarnation:
            raise Broken(f"link: {caller.name} ({peer}) sends to itself")
        pair = _pair(caller.incarnation, peer)
        now = self._clock.now
        if now - self._dialled.get(pair, -1.0) < REDIAL_AFTER:
            return
        self._dialled[pair] = now
        called = self.by_incarnation.get(peer)
        if called is None or self._is_blocked(caller, called):
            return
        self._clock.after(
            self.latency(), called.fire, called.life, self._accept, caller, called, peer
        )

    def _accept(self, caller: Process, called: Process, peer: int) -> None:
        pair = _pair(caller.incarnation, peer)
        if (
            called.incarnation != peer
            or self.by_incarnation.get(caller.incarnation) is not caller
            or self._is_blocked(caller, called)
            or pair in self._connections
            or not caller.accepts(peer)
            or not called.accepts(caller.incarnation)
        ):
            return
        connection = self._connections[pair] = _Connection(caller, called)
        called.connected(caller.incarnation)
        self._clock.after(
            self.latency(), caller.fire, caller.life, self._connected, connection, caller, peer
        )

    def _connected(self, connection: _Connection, caller: Process, peer: int) -> None:
        if self._connections.get(_pair(caller.incarnation, peer)) is connection:
            caller.connected(peer)

    def _is_blocked(self, a: Process, b: Process) -> bool:
        ways = (a.name, b.name), (b.name, a.name)
        return any(way in self.blocked or way in self.cut for way in ways)

    def break_between(self, a: Process, b: Process) -> None:
        """The connection breaks; both ends notice, each in its own time."""
        if (connection := self._connections.get(_pair(a.incarnation, b.incarnation))) is not None:
            self._struck["connection broken"] += 1
            self._break(connection, 0.1)

    def break_all(self, process: Process) -> None:
        """The process is gone: its connections break."""
        self.by_incarnation.pop(process.incarnation, None)
        for connection in [c for c in self._connections.values() if process in c.ends]:
            self._break(connection, 0.05)

    def break_blocked(self) -> None:
        """Connections over a blocked way are noticed to be dead after a while."""
        for connection in list(self._connections.values()):
            if self._is_blocked(*connection.ends):
                self._clock.after(
                    self._rng.uniform(0.1, NOTICED_AFTER), self._break_if_there, connection
                )

    def _break_if_there(self, connection: _Connection) -> None:
        if self._is_blocked(*connection.ends):
            self._struck["connection found dead"] += 1
            self._break(connection, 0.05)

    def _break(self, connection: _Connection, within: float) -> None:
        a, b = connection.arrivals
        pair = _pair(a, b)
        if self._connections.get(pair) is connection:
            del self._connections[pair]
            for end, peer in zip(connection.ends, (b, a), strict=True):
                self._clock.after(
                    self._rng.random() * within, end.fire, end.life, self._broken, end, peer
                )

    def _broken(self, end: Process, peer: int) -> None:
        if _pair(end.incarnation, peer) not in self._connections:
            end.disconnected(peer)

    # frames

    def send(self, sender: Process, peer: int, data: bytes) -> None:
        connection = self._connections.get(_pair(sender.incarnation, peer))
        if connection is None:
            return
        a, b = connection.ends
        receiver = b if a is sender else a
        struck = self._struck
        way = (sender.name, receiver.name)
        if way in self.blocked or way in self.cut:
            struck["frame blocked"] += 1
            return
        rng = self._rng
        if self.loss and rng.random() < self.loss:
            struck["frame lost"] += 1
            return
        clock = self._clock
        at = clock.now + self.latency()
        arrivals = connection.arrivals
        if self.reordering and rng.random() < self.reordering:
            struck["frame out of order"] += 1
            at += self.delay * 4 * rng.random()
        else:
            at = arrivals[peer] = max(at, arrivals[peer])
        self.carried += 1
        late = at - clock.now
        clock.after(
            late,
            receiver.fire,
            receiver.life,
            self._arrive,
            connection,
            receiver,
            peer,
            sender.incarnation,
            data,
        )
        if self.duplication and rng.random() < self.duplication:
            struck["frame doubled"] += 1
            clock.after(
                late + self.latency(),
                receiver.fire,
                receiver.life,
                self._arrive,
                connection,
                receiver,
                peer,
                sender.incarnation,
                data,
            )

    def _arrive(
        self, connection: _Connection, receiver: Process, to: int, sender: int, data: bytes
    ) -> None:
        if receiver.incarnation == to and self._connections.get(_pair(sender, to)) is connection:
            receiver.arrived(sender, data)


def _pair(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)
