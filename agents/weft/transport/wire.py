"""A connection as a sequence of frames: four bytes of length (big-endian), then the payload."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import cast

MAX_FRAME = 1 << 30
"""Bytes. A longer one is no frame of ours: the connection is closed."""
HIGH_WATER = 8 << 20
"""Bytes in the send buffer above which `congested` says so."""
BUFFER = 256 << 10
"""Bytes of a connection's receive buffer to begin with: what one read may bring."""
LEAST_READ = 16 << 10
"""Bytes of room that a read shall have."""
KEPT_BUFFER = 4 << 20
"""Bytes. A buffer that a larger frame has needed is given back."""

_LENGTH = struct.Struct(">I")


class Connection(asyncio.BufferedProtocol):
    """Frames in by callback, frames out by `send`. A closed connection swallows what is sent."""

    def __init__(self, on_open: Callable[[Connection], None]) -> None:
        self._on_open = on_open
        self.on_frame: Callable[[memoryview], None] = lambda payload: None
        self.on_close: Callable[[], None] = lambda: None
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(BUFFER)
        self._begin = self._end = 0
        """What has arrived and was not handed on lies between."""
        self._needed = 4
        """Bytes from `_begin` on without which there is no whole frame, so that nobody looks."""
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an isinstance check: uvloop's transports are not asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._on_open(self)

    # Bytes go from the socket into our own buffer and are decoded from there: as `data_received`
    # they would be copied three times more.

    def get_buffer(self, sizehint: int) -> memoryview:
        size = len(self._buffer)
        if self._needed > size - self._begin or (self._begin and size - self._end < LEAST_READ):
            self._make_room()
        return memoryview(self._buffer)[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        self._end += nbytes
        if self._end - self._begin >= self._needed:
            self._frames()

    @property
    def buffered(self) -> int:
        """Bytes that the receive buffer takes."""
        return len(self._buffer)

    def _make_room(self) -> None:
        """Move what has begun to arrive to the front, of a larger buffer where it needs one."""
        waiting = self._buffer[self._begin : self._end]
        if self._needed > len(self._buffer):
            # In steps: a length that is a lie must not cost its memory before its bytes are there.
            self._buffer = bytearray(min(self._needed, 2 * len(waiting) + BUFFER))
        memoryview(self._buffer)[: len(waiting)] = waiting
        self._begin, self._end = 0, len(waiting)

    def _frames(self) -> None:
        """Hand on the whole frames in the buffer."""
        buffer = memoryview(self._buffer)
        at, end = self._begin, self._end
        self._needed = 4
        while end - at >= 4:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if length > MAX_FRAME:
                self.close()
                at = end
                break
            if end - at - 4 < length:
                self._needed = 4 + length
                break
            payload = buffer[at + 4 : at + 4 + length]
            at += 4 + length
            self.on_frame(payload)
        if at == end:
            at = self._end = 0
            if len(self._buffer) > KEPT_BUFFER:
                self._buffer = bytearray(BUFFER)
        self._begin = at

    def send(self, payload: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines((_LENGTH.pack(len(payload)), payload))

    @property
    def congested(self) -> bool:
        """The peer reads slower than we write."""
        return self._paused

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.on_close()


class FrameReader:
    """Frames one at a time, for the exchanges that are dialogues: handshake and directory."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=0)
        connection.on_frame = lambda payload: self._frames.put_nowait(bytes(payload))
        connection.on_close = lambda: self._frames.put_nowait(None)

    async def read(self, timeout: float | None) -> bytes:
        """The next frame. Raises `ConnectionError` at the end, `TimeoutError` after `timeout` s."""
        async with asyncio.timeout(timeout):
            frame = await self._frames.get()
        if frame is None:
            self._frames.put_nowait(None)
            raise ConnectionError("the peer closed the connection")
        return frame

    def waiting(self) -> list[bytes]:
        """Frames that have arrived and were not read."""
        frames = []
        while not self._frames.empty():
            if (frame := self._frames.get_nowait()) is not None:
                frames.append(frame)
        return frames
