"""What agents and writers share: a server, a membership, and a node that is made anew when the
directory has given the process up."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from weft.protocol.directory import Joining
from weft.protocol.node import Node
from weft.protocol.view import Member, View
from weft.runtime import collector
from weft.runtime.generations import Generations
from weft.runtime.membership import Membership
from weft.runtime.parts import RayParts
from weft.runtime.status import Stats
from weft.transport.handshake import Identity
from weft.transport.mesh import Mesh
from weft.transport.server import Server
from weft.transport.wire import Connection, FrameReader
from weft_api.plan import Plan

_T = TypeVar("_T")

log = logging.getLogger(__name__)


class Place(msgspec.Struct, frozen=True):
    """Where a process runs and who it is. Plain data: it travels to the actor."""

    name: str
    """Unique in the pipeline: the pod on a cluster, `pool-N` on a laptop."""
    pipeline: str
    token: str
    bind: str = "127.0.0.1"
    advertise: str = "127.0.0.1"
    actor: str = ""
    """The Ray actor's name, where it is another one."""
    pool: str = ""
    revision: str = ""
    image: str = ""


class Process(ABC):
    """Joins, serves, and leaves in order. `run` returns when the pipeline is over or `drain` is
    done."""

    role = "agent"

    def __init__(self, place: Place, locate: Callable[[], Awaitable[str]]) -> None:
        self.place = place
        self._locate = locate
        self._plan: Plan | None = None
        self._plan_known = asyncio.Event()
        self._prepared = False
        self._updating = asyncio.Lock()
        self._updates: set[asyncio.Task[None]] = set()
        self.refused = ""
        """Why the newest plan is not used here; one line."""
        self.generations: Generations | None = None
        self._mesh: Mesh | None = None
        self._dead = asyncio.Event()
        self._over = asyncio.Event()
        self.parts = RayParts(place.actor or place.name)
        self._draining = False
        self._drain_began = 0.0
        self.number = secrets.token_hex(8)
        self.ready = False
        """Serves as a member: what a readiness probe asks."""

    @property
    def plan(self) -> Plan:
        assert self._plan is not None
        return self._plan

    async def run(self) -> None:
        """The whole life. Raises what `prepare` raises."""
        server = Server(self.place.token, self._take)
        await server.start(self.place.bind)
        membership = self._membership = Membership(
            locate=self._locate,
            token=self.place.token,
            pipeline=self.place.pipeline,
            stats=self.stats,
            on_plan=self._take_plan,
            on_offer=self._judge_plan,
            on_view=self._take_view,
            on_dead=self._dead.set,
            on_hurry=self.hurry,
            on_stop=self._stop,
        )
        try:
            if not await self._unless_over(self._plan_known.wait()):
                return
            await self.prepare(self.plan)
            self._prepared = True
            await self._catch_up()  # A newer plan may have come meanwhile.
            collector.spare()
            joining = self.joining(f"{self.place.advertise}:{server.port}")
            while not self._over.is_set():
                member = await self._unless_over(
                    membership.join(joining, lease=self.plan.delivery.lease_seconds)
                )
                if member is None:
                    break
                await self._serve(member)
        finally:
            self.ready = False
            membership.leave()
            await asyncio.sleep(0)
            await membership.close()
            await server.close()
            await self.close()

    async def drain(self, timeout: float) -> bool:
        """Leave in order: nothing new, finish or hand back, settle. True when all was done."""
        self._draining = True
        self._drain_began = time.monotonic()
        self._membership.drain()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not self._over.is_set():
            if self.drained():
                self._over.set()
                return True
            await asyncio.sleep(0.05)
        self._over.set()
        return False

    async def _serve(self, member: Member) -> None:
        """Be this member until the run is over or the directory gives us up."""
        self._dead.clear()
        node = await self.make_node(member)
        node.parts = self.parts
        mesh = self._mesh = Mesh(
            node, token=self.place.token, pipeline=self.place.pipeline, on_frame=self.wake
        )
        mesh.apply_view(self._membership.view)
        self.start(node, mesh)
        self.ready = True
        try:
            over = asyncio.ensure_future(self._over.wait())
            dead = asyncio.ensure_future(self._dead.wait())
            await asyncio.wait({over, dead}, return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
            dead.cancel()
            if self._dead.is_set():
                log.warning("%s was taken for dead; it joins again with nothing", self.place.name)
        finally:
            self.ready = False
            self._mesh = None
            await self.stop()
            await mesh.close()
            self.parts.clear()

    def _stop(self) -> None:
        """The run is over: say at last what was used for it."""
        self._membership.beat_now()
        self._over.set()

    def end(self) -> None:
        """Leave at once: what is held here goes on elsewhere, or is issued again."""
        self._over.set()

    async def _unless_over(self, awaited: Awaitable[_T]) -> _T | None:
        task = asyncio.ensure_future(awaited)
        over = asyncio.ensure_future(self._over.wait())
        await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if task.done():
            return task.result()
        task.cancel()
        return None

    def _take(self, identity: Identity, connection: Connection, reader: FrameReader) -> str:
        if identity.purpose != "link":
            return "the directory is on the head"
        if self._mesh is None:
            return "not serving yet"
        return self._mesh.take(identity, connection, reader)

    def _take_view(self, view: View) -> None:
        if self._mesh is not None:
            self._mesh.apply_view(view)
            if self._mesh.node.fenced_off:
                self._dead.set()
            self.wake()

    def _take_plan(self, plan_json: str, kept: list[int]) -> None:
        plan = Plan.from_json(plan_json)
        if self.generations is None:
            self._plan = plan
            self.generations = Generations(plan)
            self._plan_known.set()
            return
        self.generations.add(plan)
        self.generations.keep(kept)
        if self._prepared:
            task = asyncio.create_task(self._catch_up())
            self._updates.add(task)
            task.add_done_callback(self._updates.discard)

    def _judge_plan(self, plan_json: str) -> tuple[int, str]:
        """Its generation, and why this process could not run by it, or ""."""
        plan = Plan.from_json(plan_json)
        try:
            self.check(plan)
        except Exception as error:
            return plan.generation, " ".join(str(error).split()) or type(error).__name__
        return plan.generation, ""

    async def _catch_up(self) -> None:
        """Run by the newest plan from here on. One that cannot be used leaves the old one."""
        async with self._updating:
            assert self.generations is not None
            plan = self.generations.newest
            if plan.generation > self.plan.generation:
                try:
                    await self.update(plan)
                except Exception as error:
                    told = " ".join(str(error).split()) or type(error).__name__
                    self.refused = f"plan generation {plan.generation} cannot be used: {told}"
                    log.exception("%s: %s", self.place.name, self.refused)
                else:
                    self.refused = ""
                    self._plan = plan
            await self.release()
        self._membership.beat_now()

    # what the roles do

    @abstractmethod
    async def prepare(self, plan: Plan) -> None:
        """Get ready to serve (load the engine, open the table). Raises with one line for people."""

    @abstractmethod
    def joining(self, address: str) -> Joining: ...

    @abstractmethod
    async def make_node(self, member: Member) -> Node: ...

    @abstractmethod
    def start(self, node: Node, mesh: Mesh) -> None:
        """Begin to work as this node."""

    @abstractmethod
    async def stop(self) -> None:
        """Drop the work of the node at hand."""

    @abstractmethod
    def wake(self) -> None:
        """Frames came in, or time passed: there may be work."""

    @abstractmethod
    def stats(self) -> Stats: ...

    @abstractmethod
    def drained(self) -> bool:
        """Nothing is held here that the pipeline needs."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what `prepare` took."""

    @abstractmethod
    async def update(self, plan: Plan) -> None:
        """A newer plan has come. A plan that cannot be used raises; the old one goes on."""

    def check(self, plan: Plan) -> None:  # noqa: B027 - a role that can run by any plan has no say
        """Raise what would keep this process from running by the plan."""

    async def release(self) -> None:  # noqa: B027 - most roles keep nothing by generation
        """Let go of what was made for generations that are no longer known."""

    @abstractmethod
    def hurry(self, now: bool) -> None:
        """The source is exhausted, or only the target holds it back. `now`: and all rows under way
        have arrived at the writers."""


def resident_bytes() -> int:
    """Resident memory of this process, in bytes (0 where /proc is not there)."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
