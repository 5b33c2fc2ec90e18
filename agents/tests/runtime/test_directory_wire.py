"""Releases that differ talk to each other while an image goes out, one process after the other."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from weft.protocol.directory import Directory, Joining
from weft.runtime import directory_wire as wire
from weft.runtime.membership import Membership
from weft.runtime.registry import Registry
from weft.runtime.status import Stats
from weft.transport.handshake import Identity
from weft.transport.server import Server
from weft.transport.wire import Connection, FrameReader

NEWER = wire.encode(["from-a-newer-release", {"who": "knows"}])


def test_a_kind_that_only_a_newer_release_knows_is_told_from_damage() -> None:
    assert wire.decode_from(NEWER) is None
    assert wire.decode_to(NEWER) is None
    assert wire.decode_from(wire.encode(wire.Report(7))) == wire.Report(7)
    for damaged in (b"", b"\xc1", b"\x01", wire.encode([]), wire.encode(["report", "seven"])):
        with pytest.raises(msgspec.MsgspecError):
            wire.decode_from(damaged)
    with pytest.raises(msgspec.MsgspecError):
        wire.decode_to(wire.encode(["beat"]))


async def test_both_ends_pass_over_it_and_stay_connected() -> None:
    registry = Registry(
        Directory(generation=1, lease=30, now=time.monotonic()),
        ["{}"],
        on_view=lambda view: None,
        on_death=lambda member: None,
    )
    connections: list[Connection] = []

    def take(identity: Identity, connection: Connection, reader: FrameReader) -> str:
        connections.append(connection)
        return registry.take(identity, connection, reader)

    server = Server("token", take)
    await server.start("127.0.0.1")

    async def locate() -> str:
        return f"127.0.0.1:{server.port}"

    hurried = asyncio.Event()
    membership = Membership(
        locate=locate,
        token="token",
        pipeline="p",
        stats=lambda: Stats(process="one"),
        on_plan=lambda plan, kept: None,
        on_offer=lambda plan: (0, ""),
        on_view=lambda view: None,
        on_dead=lambda: None,
        on_hurry=lambda now: hurried.set(),
    )
    try:
        async with asyncio.timeout(10):
            member = await membership.join(Joining("agent", "one", "127.0.0.1:1", "s"), lease=8)
            connections[0].send(NEWER)
            connections[0].send(wire.encode(wire.Hurry()))
            await hurried.wait()
            assert membership._connection is not None
            membership._connection.send(NEWER)
            await registry.last_reports(5)
        assert registry.stats[member.incarnation].process == "one"
        assert len(connections) == 1
    finally:
        registry.stop()
        await membership.close()
        await server.close()
