"""Frames over a real socket, however the bytes are cut on their way."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator

import pytest

from weft.transport import wire
from weft.transport.wire import Connection, FrameReader


class Peer:
    """A raw socket to a `Connection` that collects its frames."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.closed = asyncio.Event()
        self.arrived = asyncio.Event()
        self.connection: Connection | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.reader: asyncio.StreamReader | None = None

    def opened(self, connection: Connection) -> None:
        self.connection = connection
        connection.on_frame = self._take
        connection.on_close = self.closed.set

    def _take(self, payload: memoryview) -> None:
        self.frames.append(bytes(payload))
        self.arrived.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.frames) < count:
                self.arrived.clear()
                await self.arrived.wait()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(peer.opened), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    peer.reader, peer.writer = await asyncio.open_connection("127.0.0.1", port)
    yield peer
    peer.writer.close()
    server.close()


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


@pytest.mark.parametrize("seed", range(8))
async def test_frames_of_all_sizes_arrive_whole_however_they_are_cut(peer: Peer, seed: int) -> None:
    rng = random.Random(seed)
    sizes = [rng.choice((0, 1, 3, 4, 5, 100, 5_000, 70_000, 700_000)) for _ in range(40)]
    payloads = [rng.randbytes(size) for size in sizes]
    stream = b"".join(framed(payload) for payload in payloads)
    assert peer.writer is not None
    at = 0
    while at < len(stream):
        step = rng.choice((1, 2, 3, 4, 5, 7, 1_000, 65_536, 300_000))
        peer.writer.write(stream[at : at + step])
        at += step
        if rng.random() < 0.3:
            await peer.writer.drain()
            await asyncio.sleep(0)
    await peer.until(len(payloads))
    assert peer.frames == payloads


async def test_a_frame_byte_by_byte_arrives_whole(peer: Peer) -> None:
    assert peer.writer is not None
    for byte in framed(b"slowly") + framed(b"and again"):
        peer.writer.write(bytes([byte]))
        await asyncio.sleep(0.001)
    await peer.until(2)
    assert peer.frames == [b"slowly", b"and again"]


async def test_a_length_that_no_frame_has_closes_the_connection(peer: Peer) -> None:
    assert peer.writer is not None
    peer.writer.write(framed(b"good") + struct.pack(">I", wire.MAX_FRAME + 1) + b"rest")
    async with asyncio.timeout(10):
        await peer.closed.wait()
    assert peer.frames == [b"good"]


async def test_who_reads_may_change_between_two_frames_of_one_piece(peer: Peer) -> None:
    # As after a handshake: the frames behind the last word of it belong to another reader.
    assert peer.connection is not None or await asyncio.sleep(0.05) is None
    connection = peer.connection
    assert connection is not None
    reader = FrameReader(connection)
    assert peer.writer is not None
    peer.writer.write(framed(b"one") + framed(b"two"))
    assert await reader.read(5) == b"one"
    assert reader.waiting() == [b"two"]


async def test_what_is_sent_arrives_with_its_length(peer: Peer) -> None:
    await asyncio.sleep(0.05)
    assert peer.connection is not None
    assert peer.reader is not None
    peer.connection.send(b"hello")
    peer.connection.send(b"")
    async with asyncio.timeout(5):
        assert await peer.reader.readexactly(13) == framed(b"hello") + framed(b"")


async def test_the_memory_of_one_huge_frame_is_given_back(peer: Peer) -> None:
    assert peer.writer is not None
    peer.writer.write(framed(bytes(wire.KEPT_BUFFER * 3)) + framed(b"small"))
    await peer.until(2)
    peer.writer.write(framed(b"next"))
    await peer.until(3)
    assert peer.connection is not None
    assert peer.connection.buffered <= wire.KEPT_BUFFER
    assert peer.frames[1:] == [b"small", b"next"]
