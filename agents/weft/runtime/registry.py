"""The directory's end of its connections: leases renewed, views and plans handed out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from weft.protocol.directory import Directory
from weft.protocol.view import Member, View
from weft.runtime import directory_wire as wire
from weft.runtime.status import Stats
from weft.transport.handshake import Identity
from weft.transport.server import welcome
from weft.transport.wire import Connection, FrameReader

RECONNECT_WITHIN = 0.5
"""Seconds that a member has to come back when its connection breaks. A process that dies breaks it
at once, so its rows go on elsewhere long before its lease runs out; one that lives and is taken for
dead by mistake costs only the work in its hands."""
PROBE_EVERY = 0.05
"""Seconds between tries, meanwhile, to reach its address: where nothing listens any more, the
process is gone, and nobody has to be waited for."""

log = logging.getLogger(__name__)


class Registry:
    """Serves the directory to processes that connect; `tick` it a few times a second."""

    def __init__(
        self,
        directory: Directory,
        plans: Sequence[str],
        *,
        on_view: Callable[[View], None],
        on_death: Callable[[Member], None],
        kept: Sequence[int] = (),
    ) -> None:
        """`plans`: the newest, as JSON, and then those that rows on their way may still run by."""
        self.directory = directory
        self.stats: dict[int, Stats] = {}
        self._reports: dict[int, int] = {}
        """Member -> the number of the report that it has answered last."""
        self._report = 0
        self._heard = asyncio.Event()
        """Somebody has reported, or has gone."""
        self._plans = list(plans)
        self._kept = list(kept)
        self._on_view = on_view
        self._on_death = on_death
        self._connections: dict[Connection, int] = {}
        """With the incarnation of the member at the other end, 0 before it has joined."""
        self._verdicts: dict[Connection, asyncio.Future[str]] = {}
        self._published: tuple[int, int] = (0, 0)
        self._broken: dict[int, float] = {}
        """Member -> since when it has no connection."""
        self._probes: set[asyncio.Task[None]] = set()
        self._hurry = False
        self._stop = False

    def take(self, identity: Identity, connection: Connection, reader: FrameReader) -> str:
        """A process has connected; why not, or ""."""
        welcome(connection)
        self._connections[connection] = 0
        incarnation = 0

        def received(payload: memoryview | bytes) -> None:
            nonlocal incarnation
            try:
                said = wire.decode_to(payload)
            except msgspec.MsgspecError:
                log.warning("a process speaks another directory protocol; connection closed")
                connection.close()
                return
            if said is None:
                return
            now = time.monotonic()
            if isinstance(said, wire.Join):
                member = self.directory.join(said.joining, now)
                incarnation = member.incarnation if member else 0
                self._broken.pop(incarnation, None)
                self._connections[connection] = incarnation
                reply = wire.Joined(member, self.directory.writer_partitions)
                connection.send(wire.encode(reply))
                self._send_view(connection)
            elif isinstance(said, wire.Heartbeat):
                if incarnation and self.directory.heartbeat(incarnation, now):
                    self.stats[incarnation] = said.stats
                    self._reports[incarnation] = said.report
                    self._heard.set()
            elif isinstance(said, wire.Draining):
                self.directory.change(incarnation, draining=True)
            elif isinstance(said, wire.PlanVerdict):
                waiting = self._verdicts.get(connection)
                if waiting is not None and not waiting.done():
                    waiting.set_result(said.fault)
            else:
                self.directory.leave(incarnation)
            self.publish(now)

        for plan_json in self._plans:
            connection.send(wire.encode(wire.PlanUpdate(plan_json, self._kept)))
        if self._hurry:
            connection.send(wire.encode(wire.Hurry()))
        if self._report:  # Whoever comes now is waited for like the others.
            connection.send(wire.encode(wire.Report(self._report)))
        if self._stop:
            connection.send(wire.encode(wire.Stop()))
        for payload in reader.waiting():
            received(payload)
        connection.on_frame = received

        def closed() -> None:
            self._connections.pop(connection, None)
            self._heard.set()
            waiting = self._verdicts.get(connection)
            if waiting is not None and not waiting.done():
                waiting.set_result("")
            if incarnation in self.directory.members and not self._stop:
                self._broken[incarnation] = time.monotonic()
                probe = asyncio.get_running_loop().create_task(self._probe(incarnation))
                self._probes.add(probe)
                probe.add_done_callback(self._probes.discard)

        connection.on_close = closed
        return ""

    def tick(self, now: float) -> None:
        """Let leases run out and publish what has changed."""
        for member in self.directory.tick(now):
            log.warning("%s was not heard of for its lease and is taken for dead", member.name)
            self._on_death(member)
        for incarnation, since in list(self._broken.items()):
            if now - since > RECONNECT_WITHIN:
                del self._broken[incarnation]
                self.directory.leave(incarnation)
        self.publish(now)
        alive = self.directory.members
        for incarnation in [i for i in self.stats if i not in alive]:
            del self.stats[incarnation]
            self._reports.pop(incarnation, None)

    async def _probe(self, incarnation: int) -> None:
        """While the member has no connection: see whether its process is gone."""
        while incarnation in self._broken:
            member = self.directory.members.get(incarnation)
            if member is None:
                return
            if await _nothing_listens(member.address):
                if self._broken.pop(incarnation, None) is not None:
                    log.warning("%s is gone: nothing listens at its address", member.name)
                    self.directory.leave(incarnation)
                    self.publish(time.monotonic())
                return
            await asyncio.sleep(PROBE_EVERY)

    def publish(self, now: float) -> None:
        """Send the view to everyone, if it is a new one."""
        view = self.directory.view(now)
        if view is None or view.version == self._published:
            return
        self._published = view.version
        frame = wire.encode(wire.ViewUpdate(view))
        for connection in list(self._connections):
            connection.send(frame)
        self._on_view(view)

    async def offer(self, plan_json: str, timeout: float) -> list[str]:
        """Ask the members whether they could run by the plan: a line for each that could not.

        One that leaves, or says nothing within `timeout` seconds, is passed over: it takes the plan
        when it comes back, and its heartbeats name the plan that it runs by."""
        loop = asyncio.get_running_loop()
        asked: dict[asyncio.Future[str], str] = {}
        frame = wire.encode(wire.PlanOffer(plan_json))
        for connection, incarnation in list(self._connections.items()):
            member = self.directory.members.get(incarnation)
            if member is not None:
                self._verdicts[connection] = verdict = loop.create_future()
                asked[verdict] = member.name
                connection.send(frame)
        if asked:
            await asyncio.wait(asked, timeout=timeout)
        self._verdicts.clear()
        faults = {name: verdict.result() for verdict, name in asked.items() if verdict.done()}
        return sorted(f"{name}: {fault}" for name, fault in faults.items() if fault)

    def update_plans(self, plans: Sequence[str], kept: list[int]) -> None:
        """Hand out the newest plan, the first; the others are for processes that start later."""
        self._plans, self._kept = list(plans), kept
        self._send_all(wire.PlanUpdate(plans[0], kept))

    def ask_reports(self) -> int:
        """Have all members say at once what they have done until now. The number to ask by whether
        they have."""
        self._report += 1
        self._send_all(wire.Report(self._report))
        return self._report

    def reported(self, number: int) -> bool:
        """Whether all members that are connected have answered that report, or a later one. A
        member that hangs is waited for until its lease has run out."""
        alive = self.directory.members
        members = (i for i in self._connections.values() if i in alive)
        return all(self._reports.get(each, 0) >= number for each in members)

    async def last_reports(self, timeout: float) -> None:
        """Hear from all members what they have done until now; from those that can be heard of
        within `timeout` seconds."""
        number = self.ask_reports()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self.reported(number):
                    self._heard.clear()
                    await self._heard.wait()

    def hurry(self, *, now: bool = False) -> None:
        if now or not self._hurry:
            self._hurry = True
            self._send_all(wire.Hurry(now))

    def stop(self) -> None:
        self._stop = True
        for probe in self._probes:
            probe.cancel()
        self._send_all(wire.Stop())

    def _send_all(self, message: wire.FromDirectory) -> None:
        frame = wire.encode(message)
        for connection in list(self._connections):
            connection.send(frame)

    def _send_view(self, connection: Connection) -> None:
        if self._published != (0, 0) and (view := self.directory.view(time.monotonic())):
            connection.send(wire.encode(wire.ViewUpdate(view)))


async def _nothing_listens(address: str) -> bool:
    """True only where the machine itself says so; one that does not answer may be slow."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(RECONNECT_WITHIN):
            _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    return False
