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

_LENGTH = struct.Struct(">I")


class Connection(asyncio.Protocol):
    """Frames in by callback, frames out by `send`. A closed connection swallows what is sent."""

    def __init__(self, on_open: Callable[[Connection], None]) -> None:
        self._on_open = on_open
        self.on_frame: Callable[[memoryview], None] = lambda payload: None
        self.on_close: Callable[[], None] = lambda: None
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._needed = 4
        """Bytes without which the buffer holds no whole frame, so that it is not looked at."""
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an isinstance check: uvloop's transports are not asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) >= self._needed:
                consumed = self._frames(memoryview(bytes(buffer)))
                del buffer[:consumed]
        else:
            consumed = self._frames(memoryview(data))
            if consumed < len(data):
                buffer += data[consumed:]

    def _frames(self, data: memoryview) -> int:
        """Hand on the whole frames in `data`; returns how many bytes they took."""
        at, end = 0, len(data)
        while end - at >= 4:
            (length,) = _LENGTH.unpack_from(data, at)
            if length > MAX_FRAME:
                self.close()
                return end
            if end - at - 4 < length:
                self._needed = 4 + length
                return at
            payload = data[at + 4 : at + 4 + length]
            at += 4 + length
            self.on_frame(payload)
        self._needed = 4
        return at

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
