"""A process's end of the directory: joins, renews its lease, learns views and plans; reconnects."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable

import msgspec

from weft.protocol.directory import Joining
from weft.protocol.view import EMPTY_VIEW, Member, View
from weft.runtime import directory_wire as wire
from weft.runtime.status import Stats
from weft.transport.handshake import HandshakeError, Identity, greet
from weft.transport.server import dial
from weft.transport.wire import Connection

log = logging.getLogger(__name__)

DIAL_TIMEOUT = 5.0
RETRY_AFTER = (0.1, 1.0)
"""Seconds between two tries to reach the head: at first, and at most."""
SEAT_RETRY = 0.5
"""Seconds until a refused join is tried again (a writer whose predecessor's lease still runs)."""


class Membership:
    """Callbacks run in the event loop. `on_view` gets each newer view; `on_dead` is called when the
    directory has given this process up: whatever it holds is void, and it must `join` anew."""

    def __init__(
        self,
        *,
        locate: Callable[[], Awaitable[str]],
        token: str,
        pipeline: str,
        stats: Callable[[], Stats],
        on_plan: Callable[[str, list[int]], None],
        on_offer: Callable[[str], tuple[int, str]],
        on_view: Callable[[View], None],
        on_dead: Callable[[], None],
        on_hurry: Callable[[bool], None] = lambda now: None,
        on_stop: Callable[[], None] = lambda: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`locate` finds the directory's `host:port`; it is asked again for each connection."""
        self.view: View = EMPTY_VIEW
        self.writer_partitions = 1
        self._locate = locate
        self._token = token
        self._pipeline = pipeline
        self._stats = stats
        self._on_plan = on_plan
        self._on_offer = on_offer
        self._on_view = on_view
        self._on_dead = on_dead
        self._on_hurry = on_hurry
        self._on_stop = on_stop
        self._tls = tls
        self._connection: Connection | None = None
        self._joining: Joining | None = None
        self._member: Member | None = None
        self._joined: asyncio.Future[Member] | None = None
        self._draining = False
        self._report = 0
        self._beat_every = 1.0
        self._tasks = [
            asyncio.create_task(self._keep_connected()),
            asyncio.create_task(self._beat()),
        ]

    async def join(self, joining: Joining, *, lease: float) -> Member:
        """Become a member (again), with a new incarnation. Waits until the directory says yes."""
        self._beat_every = min(1.0, lease / 4)
        self._member = None
        self._joining = joining
        self._joined = asyncio.get_running_loop().create_future()
        self._say(wire.Join(joining))
        return await self._joined

    def drain(self) -> None:
        """Tell all that this process takes nothing new."""
        self._draining = True
        self._say(wire.Draining())

    def leave(self) -> None:
        self._joining = self._member = None
        self._say(wire.Leave())

    def beat_now(self) -> None:
        """Report at once, not only with the next beat."""
        if self._member is not None:
            self._say(wire.Heartbeat(self._stats(), self._report))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._connection is not None:
            self._connection.close()

    def _say(self, message: wire.ToDirectory) -> None:
        if self._connection is not None:
            self._connection.send(wire.encode(message))

    async def _keep_connected(self) -> None:
        pause, longest = RETRY_AFTER
        while True:
            try:
                address = await self._locate()
                connection, reader = await dial(address, timeout=DIAL_TIMEOUT, tls=self._tls)
                identity = Identity("directory", 0, 0, self._pipeline)
                await greet(connection, reader, self._token, identity)
            except (OSError, TimeoutError, HandshakeError) as error:
                log.info("the head cannot be reached yet: %s", str(error) or type(error).__name__)
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 2, longest)
                continue
            pause = RETRY_AFTER[0]
            self._report = 0  # Another head counts anew.
            self._connection = connection
            if self._joining is not None:
                known = self._member
                again = self._joining
                if known is not None:
                    again = msgspec.structs.replace(
                        again,
                        incarnation=known.incarnation,
                        partitions=known.partitions,
                        draining=self._draining,
                        view=self.view,
                    )
                self._say(wire.Join(again))
            try:
                while True:
                    if (said := wire.decode_from(await reader.read(None))) is not None:
                        self._take(said)
            except (ConnectionError, msgspec.MsgspecError) as error:
                log.info("lost the connection to the head: %s", error)
                self._connection = None
                connection.close()

    def _take(self, said: wire.FromDirectory) -> None:
        if isinstance(said, wire.PlanUpdate):
            self._on_plan(said.plan, said.kept)
        elif isinstance(said, wire.PlanOffer):
            self._say(wire.PlanVerdict(*self._on_offer(said.plan)))
        elif isinstance(said, wire.Joined):
            self._take_joined(said)
        elif isinstance(said, wire.ViewUpdate):
            if said.view.version > self.view.version:
                self.view = said.view
                self._on_view(said.view)
        elif isinstance(said, wire.Hurry):
            self._on_hurry(said.now)
        elif isinstance(said, wire.Report):
            self._report = said.number
            self.beat_now()
        else:
            self._on_stop()

    def _take_joined(self, said: wire.Joined) -> None:
        self.writer_partitions = said.writer_partitions
        waiting = self._joined
        if said.member is not None:
            self._member = said.member
            if waiting is not None and not waiting.done():
                waiting.set_result(said.member)
        elif self._member is not None:
            self._member = self._joining = None
            self._on_dead()
        elif waiting is not None and self._joining is not None:
            again = self._joining
            asyncio.get_running_loop().call_later(SEAT_RETRY, self._join_again, again)

    def _join_again(self, joining: Joining) -> None:
        if self._joining is joining and self._member is None:
            self._say(wire.Join(joining))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._beat_every)
            self.beat_now()
