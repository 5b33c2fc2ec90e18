"""One listening socket per process; who has proven the token is handed on."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable

from weft.transport.handshake import HandshakeError, Identity, receive, refuse, welcome
from weft.transport.wire import Connection, FrameReader

Taker = Callable[[Identity, Connection, FrameReader], str]
"""Takes a proven connection over, or returns the line that says why not. `FrameReader.waiting` has
what the peer sent right behind its proof."""

log = logging.getLogger(__name__)


class Server:
    """`take` decides by identity; connections that prove nothing within ten seconds are closed."""

    def __init__(self, token: str, take: Taker, *, tls: ssl.SSLContext | None = None) -> None:
        self._token = token
        self._take = take
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._greeting: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, host: str, port: int = 0) -> None:
        """Listen; port 0 picks a free one. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._opened), host, port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._greeting):
            task.cancel()

    def _opened(self, connection: Connection) -> None:
        # The reader at once: what arrives before the task's first turn must not be missed.
        greeting = self._greet(connection, FrameReader(connection))
        task = asyncio.get_running_loop().create_task(greeting)
        self._greeting.add(task)
        task.add_done_callback(self._greeting.discard)

    async def _greet(self, connection: Connection, reader: FrameReader) -> None:
        try:
            identity = await receive(connection, reader, self._token)
        except (HandshakeError, ConnectionError, TimeoutError) as error:
            log.warning("refused a connection: %s", str(error) or type(error).__name__)
            connection.close()
            return
        # Welcomed before it is taken over, so that nothing overtakes the welcome on the wire.
        why = self._take(identity, connection, reader)
        if why:
            refuse(connection, why)


async def dial(
    address: str, *, timeout: float, tls: ssl.SSLContext | None = None
) -> tuple[Connection, FrameReader]:
    """Connect to `host:port`. Raises `OSError` or `TimeoutError`."""
    host, _, port = address.rpartition(":")
    opened: list[FrameReader] = []
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        _, connection = await loop.create_connection(
            lambda: Connection(lambda connection: opened.append(FrameReader(connection))),
            host,
            int(port),
            ssl=tls,
        )
    return connection, opened[0]


__all__ = ["Server", "Taker", "dial", "welcome"]
