"""Moves a protocol node's frames: one connection to each peer, made again when it breaks.

Of two processes the newer one (of the higher incarnation) dials; so there is one connection a pair.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable

import msgspec

from weft.protocol.message import decode_frame, encode_frame
from weft.protocol.node import Node
from weft.protocol.view import Member, View
from weft.transport.handshake import HandshakeError, Identity, greet, welcome
from weft.transport.server import dial
from weft.transport.wire import Connection, FrameReader

DIAL_TIMEOUT = 5.0
REDIAL_AFTER = (0.05, 2.0)
"""Seconds before the first and, at the most, before later attempts."""
TICK = 0.1
"""Seconds between two ticks of the node. What waits for company (`Link.PATIENCE`) goes with the
next one, to all peers in one waking, which is most of what a frame costs where hops are few."""

log = logging.getLogger(__name__)


class Mesh:
    """Carries `node`. `on_frame` is called after frames came in: there may be work."""

    def __init__(
        self,
        node: Node,
        *,
        token: str,
        pipeline: str,
        on_frame: Callable[[], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.node = node
        self._token = token
        self._pipeline = pipeline
        self._on_frame = on_frame
        self._tls = tls
        self._connections: dict[int, Connection] = {}
        self._dialling: dict[int, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._flushing = False
        self._closed = False
        self._ticker = self._loop.create_task(self._tick())

    # membership

    def apply_view(self, view: View) -> None:
        """Adopt the view: dial who is older than us, drop who is gone."""
        node = self.node
        node.apply_view(view, time.monotonic())
        if node.fenced_off:
            return
        for peer in [peer for peer in self._connections if view.is_dead(peer)]:
            self._connections.pop(peer).close()
        for peer in [peer for peer in self._dialling if peer not in view.by_incarnation]:
            self._dialling.pop(peer).cancel()
        for member in view.members:
            if member.incarnation < node.incarnation and member.incarnation not in self._dialling:
                task = self._loop.create_task(self._keep_dialled(member))
                self._dialling[member.incarnation] = task
        self.flush()

    def take(self, identity: Identity, connection: Connection, reader: FrameReader) -> str:
        """A peer has dialled us; why not, or ""."""
        if identity.target != self.node.incarnation:
            return f"incarnation {identity.target} is no longer here"
        if self._closed or not self.node.accepts_peer(identity.incarnation):
            return f"incarnation {identity.incarnation} is dead by this process's view"
        welcome(connection)
        self._attach(identity.incarnation, connection, reader)
        return ""

    # frames

    def flush(self) -> None:
        """Put what the node wants to send on the wire at the end of this turn of the loop.

        Not at once: what is handled in one turn shares frames.
        """
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        connections = self._connections
        for peer, frame in self.node.outgoing(time.monotonic()):
            if (connection := connections.get(peer)) is not None:
                connection.send(encode_frame(frame))

    def _attach(self, peer: int, connection: Connection, reader: FrameReader) -> None:
        if (old := self._connections.pop(peer, None)) is not None:
            old.on_close = lambda: None
            old.close()
        self._connections[peer] = connection
        self.node.connect(peer, time.monotonic())

        def received(payload: memoryview | bytes) -> None:
            try:
                frame = decode_frame(payload)
            except msgspec.MsgspecError:
                log.warning("a frame of peer %d cannot be read; the connection is closed", peer)
                connection.close()
                return
            self.node.receive(peer, frame, time.monotonic())
            self._on_frame()
            self.flush()

        def lost() -> None:
            if self._connections.get(peer) is connection:
                del self._connections[peer]
                self.node.disconnect(peer, time.monotonic())

        for payload in reader.waiting():
            received(payload)
        connection.on_frame = received
        connection.on_close = lost
        self.flush()

    async def _keep_dialled(self, member: Member) -> None:
        pause, longest = REDIAL_AFTER
        while not self._closed:
            closed = asyncio.Event()
            try:
                connection, reader = await dial(member.address, timeout=DIAL_TIMEOUT, tls=self._tls)
                identity = Identity(
                    "link", self.node.incarnation, member.incarnation, self._pipeline
                )
                await greet(connection, reader, self._token, identity)
            except (OSError, TimeoutError, HandshakeError) as error:
                log.debug("cannot reach %s at %s: %s", member.name, member.address, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)
                continue
            pause = REDIAL_AFTER[0]
            self._attach(member.incarnation, connection, reader)
            detach = connection.on_close

            def lost(detach: Callable[[], None] = detach, closed: asyncio.Event = closed) -> None:
                detach()
                closed.set()

            connection.on_close = lost
            await closed.wait()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.node.tick(time.monotonic())
            self._on_frame()
            self._flush()

    async def close(self) -> None:
        """End all connections; what was not acknowledged stays with its holders."""
        self._closed = True
        self._ticker.cancel()
        for task in self._dialling.values():
            task.cancel()
        for connection in list(self._connections.values()):
            connection.close()
        self._connections.clear()
