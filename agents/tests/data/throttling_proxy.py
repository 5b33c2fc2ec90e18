"""Stands before an S3 gateway and, while told to, answers every request with 503 SlowDown."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Proxy:
    """`throttles` may be set at any time; `refused` counts."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self.refused = 0
        self._throttles = False
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def throttles(self) -> bool:
        return self._throttles

    @throttles.setter
    def throttles(self, now: bool) -> None:
        self._throttles = now
        if now:
            # Connections that are open would go on past us.
            for writer in list(self._writers):
                writer.get_extra_info("socket").shutdown(2)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self._throttles:
                await self._refuse(reader, writer)
            else:
                await self._pass_on(reader, writer)
        writer.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"100-continue" not in head and (length := _LENGTH.search(head)):
            await reader.readexactly(int(length[1]))
        self.refused += 1
        writer.write(
            b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(_SLOW_DOWN)
        )
        if not head.startswith(b"HEAD"):
            writer.write(_SLOW_DOWN)
        await writer.drain()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
        self._writers |= {writer, back}
        try:
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        finally:
            self._writers -= {writer, back}
            back.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@contextmanager
def proxy(upstream: int) -> Iterator[Proxy]:
    """A proxy on loopback, in a thread of its own."""
    made = Proxy(upstream)
    up = threading.Event()
    loop: asyncio.AbstractEventLoop | None = None
    stop: asyncio.Event | None = None

    async def serve() -> None:
        nonlocal loop, stop
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(made.take, "127.0.0.1", 0)
        made.port = server.sockets[0].getsockname()[1]
        up.set()
        await stop.wait()
        server.close()  # `run` cancels the connections that are open, and waits for them.

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert up.wait(10)
    assert loop is not None
    assert stop is not None
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
