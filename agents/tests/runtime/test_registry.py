"""The directory's end of its connections, over real sockets: who is taken for dead, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from weft.protocol.directory import Directory, Joining
from weft.runtime import directory_wire as wire
from weft.runtime.registry import RECONNECT_WITHIN, Registry
from weft.runtime.status import Stats
from weft.transport.handshake import Identity, greet
from weft.transport.server import Server, dial
from weft.transport.wire import Connection

TICK = 0.02


class Head:
    """A registry behind a socket, ticked as the head does."""

    def __init__(self) -> None:
        now = time.monotonic()
        self.changed = asyncio.Event()
        self.registry = Registry(
            Directory(generation=1, lease=30, now=now),
            ["{}"],
            on_view=lambda view: self.changed.set(),
            on_death=lambda member: None,
        )
        self.server = Server("token", self.registry.take)

    @property
    def names(self) -> set[str]:
        return {member.name for member in self.registry.directory.members.values()}

    async def tick(self) -> None:
        while True:
            self.registry.tick(time.monotonic())
            await asyncio.sleep(TICK)

    async def join(self, name: str, address: str) -> Connection:
        connection, reader = await dial(f"127.0.0.1:{self.server.port}", timeout=5)
        await greet(connection, reader, "token", Identity("directory", 0, 0, "quiet"))
        connection.send(wire.encode(wire.Join(Joining("agent", name, address, "step"))))
        await self.until(lambda: name in self.names)
        return connection

    async def seconds_until_gone(self, name: str) -> float:
        began = time.monotonic()
        await self.until(lambda: name not in self.names)
        return time.monotonic() - began

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def head() -> AsyncIterator[Head]:
    head = Head()
    await head.server.start("127.0.0.1")
    ticking = asyncio.create_task(head.tick())
    yield head
    ticking.cancel()
    await head.server.close()


@pytest.fixture
async def listener() -> AsyncIterator[asyncio.Server]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    yield server
    server.close()


def reports(connection: Connection, *, report: int, tokens: int) -> None:
    stats = Stats(completion_tokens=tokens, process="p")
    connection.send(wire.encode(wire.Heartbeat(stats, report)))


async def test_all_members_are_asked_what_they_have_done_and_one_that_hangs_is_not_waited_for_long(
    head: Head,
) -> None:
    registry = head.registry
    one, other = await head.join("one", "127.0.0.1:1"), await head.join("other", "127.0.0.1:1")
    asked = asyncio.create_task(registry.last_reports(10))
    await asyncio.sleep(0.05)
    reports(one, report=1, tokens=5)
    reports(other, report=0, tokens=6)  # A beat that was on its way when it was asked.
    await asyncio.sleep(0.05)
    assert not asked.done()
    reports(other, report=1, tokens=7)
    await asyncio.wait_for(asked, 1)
    assert sorted(stats.completion_tokens for stats in registry.stats.values()) == [5, 7]

    began = time.monotonic()
    asked = asyncio.create_task(registry.last_reports(0.2))
    reports(one, report=2, tokens=8)
    await asked
    assert time.monotonic() - began >= 0.2
    assert not registry.reported(2)
    asked = asyncio.create_task(registry.last_reports(10))
    reports(one, report=3, tokens=9)
    other.close()  # Nobody waits for one whose connection is broken.
    await asyncio.wait_for(asked, 1)


async def test_a_member_that_comes_after_a_report_was_asked_for_is_asked_as_well(
    head: Head,
) -> None:
    number = head.registry.ask_reports()
    connection, reader = await dial(f"127.0.0.1:{head.server.port}", timeout=5)
    await greet(connection, reader, "token", Identity("directory", 0, 0, "quiet"))
    said = [wire.decode_from(await asyncio.wait_for(reader.read(None), 5)) for _ in range(2)]
    assert wire.Report(number) in said


def address_of(server: asyncio.Server) -> str:
    return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_member_whose_process_is_gone_is_dead_at_once(
    head: Head, listener: asyncio.Server
) -> None:
    connection = await head.join("first-0", address_of(listener))
    listener.close()
    connection.close()
    # Well before it would be given up for not coming back.
    assert await head.seconds_until_gone("first-0") < RECONNECT_WITHIN * 0.8


async def test_a_member_that_still_listens_has_time_to_come_back(
    head: Head, listener: asyncio.Server
) -> None:
    connection = await head.join("first-0", address_of(listener))
    connection.close()
    assert await head.seconds_until_gone("first-0") > RECONNECT_WITHIN * 0.8


async def test_a_listener_that_closes_a_moment_after_the_connection_is_noticed_too(
    head: Head, listener: asyncio.Server
) -> None:
    connection = await head.join("first-0", address_of(listener))
    connection.close()
    asyncio.get_running_loop().call_later(0.1, listener.close)
    assert await head.seconds_until_gone("first-0") < RECONNECT_WITHIN * 0.9
