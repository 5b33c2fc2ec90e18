"""The agent process: as many workers as the pool's concurrency take rows from the inbox."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable

from weft.engines import make_engine
from weft.engines.base import Engine, EngineDead
from weft.protocol.agent import AgentNode
from weft.protocol.directory import Joining
from weft.protocol.inbox import Work
from weft.protocol.message import Message
from weft.protocol.node import Node
from weft.protocol.view import Member
from weft.runtime.hops import Again, Hops, Identity, Passed, make_agent
from weft.runtime.parts import PartLost
from weft.runtime.process import Place, Process, resident_bytes
from weft.runtime.status import Stats
from weft.transport.mesh import Mesh
from weft_api.plan import Plan

ROWS_PER_TURN = 64
"""Rows that workers handle before the event loop gets a turn, so that frames go out and in."""
ALONE_SECONDS = 5.0
"""Seconds for which an agent that is to leave waits for another one to hand its rows to."""
WATCH_EVERY = 1.0
"""Seconds between looks for rows that take too long."""

log = logging.getLogger(__name__)


def _die(why: str) -> None:
    """End this process at once. Whoever sent us rows still has them and sends them elsewhere; Ray
    (on a cluster: the kubelet) starts us afresh, engine and all."""
    log.critical("%s", why)
    logging.shutdown()
    os._exit(70)


class _Worker:
    """One row at a time, for ever."""

    __slots__ = ("late", "since", "surplus", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.since = 0.0
        """When it began its row (monotonic seconds); 0 while it has none."""
        self.late = False
        self.surplus = False
        """The pool's concurrency has been lowered: to end after its row."""


class AgentProcess(Process):
    role = "agent"

    def __init__(self, place: Place, locate: Callable[[], Awaitable[str]]) -> None:
        super().__init__(place, locate)
        self._engine: Engine | None = None
        self._hops: Hops | None = None
        """By the newest plan."""
        self._generation = 0
        """Of that plan."""
        self._older: dict[int, Hops] = {}
        self._making = asyncio.Lock()
        self._newer = asyncio.Event()
        self._node: AgentNode | None = None
        self._workers: list[_Worker] = []
        self._idle: list[asyncio.Future[None]] = []
        self._waking = False
        self._turn = 0
        self._watcher: asyncio.Task[None] | None = None
        self._retries: set[asyncio.TimerHandle] = set()
        self._counts = Stats()
        self._trouble = ""

    async def prepare(self, plan: Plan) -> None:
        pool = plan.pool(self.place.pool)
        self._engine = make_engine(pool.engine, seed=plan.seed, environ=os.environ)
        await self._engine.start()
        self._hops = await self._make(plan)
        self._generation = plan.generation

    def _identity(self) -> Identity:
        place = self.place
        return Identity(place.pool, place.name, place.revision, place.image)

    def joining(self, address: str) -> Joining:
        pool = self.plan.pool(self.place.pool)
        place = self.place
        return Joining("agent", place.name, address, pool.step, pool.name, place.revision)

    async def make_node(self, member: Member) -> Node:
        plan = self.plan
        return AgentNode(
            member.incarnation,
            step=member.step,
            seed=plan.seed,
            fence_rows=max(4096, 4 * plan.delivery.in_flight_rows * _lanes(plan)),
        )

    def start(self, node: Node, mesh: Mesh) -> None:
        assert isinstance(node, AgentNode)
        self._node = node
        self._counts.state = "serving"
        self._resize(self.plan.pool(self.place.pool).concurrency)
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        self._node = None
        if self._watcher is not None:
            self._watcher.cancel()
        for handle in self._retries:
            handle.cancel()
        self._retries.clear()
        workers, self._workers = self._workers, []
        for worker in workers:
            if worker.task is not None:
                worker.task.cancel()
        await asyncio.gather(
            *(worker.task for worker in workers if worker.task), return_exceptions=True
        )
        self._idle.clear()

    async def close(self) -> None:
        for hops in (self._hops, *self._older.values()):
            if hops is not None:
                await _close(hops)
        if self._engine is not None:
            await self._engine.close()

    def check(self, plan: Plan) -> None:
        if self._serves(plan):
            Hops.check(plan)
            make_agent(plan, self.place.pool)

    async def update(self, plan: Plan) -> None:
        # A plan without this pool: it goes on as it was until its process is ended.
        if self._serves(plan):
            hops = await self._make(plan)
            assert self._hops is not None
            self._older[self._generation] = self._hops
            self._hops = hops
            if self._node is not None:
                self._resize(plan.pool(self.place.pool).concurrency)
        self._generation = plan.generation
        self._newer.set()
        self._newer = asyncio.Event()

    async def release(self) -> None:
        assert self.generations is not None
        in_hand = {work.message.plan for work in self._node.in_work} if self._node else set()
        for generation in list(self._older):
            if self.generations.get(generation) is None and generation not in in_hand:
                await _close(self._older.pop(generation))

    def _serves(self, plan: Plan) -> bool:
        return any(pool.name == self.place.pool for pool in plan.pools)

    async def _make(self, plan: Plan) -> Hops:
        assert self._engine is not None
        agent = make_agent(plan, self.place.pool)
        hops = Hops(plan, self._identity(), agent, self._engine)
        await agent.start()
        return hops

    async def _hops_for(self, message: Message) -> Hops:
        """What the row runs by here, where that is not simply the newest plan.

        It sets `message.plan`, and never to less than it was.
        """
        while message.plan > self._generation:
            # Whoever sent the row has had the newer plan before us.
            self._trouble = f"rows wait for plan generation {message.plan}, which is not here yet"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_EVERY):
                    await self._newer.wait()
        hops = self._hops
        assert hops is not None
        if message.plan < self._generation:
            begun = message.hop > 0 or not self._may_begin_anew(message)
            if begun and not self.plan.rollout.adopts and (older := await self._by(message.plan)):
                return older
            message.plan = self._generation
        return hops

    def _may_begin_anew(self, message: Message) -> bool:
        """Whether a row that no agent has had yet begins by the newest plan, not by the one that it
        was issued by: behind a full inbox a new version would else take effect long after.

        Not where other rules hold at the source: by those it has not been checked."""
        issued = self.generations.get(message.plan) if self.generations else None
        return issued is not None and issued.source_rules() == self.plan.source_rules()

    async def _by(self, generation: int) -> Hops | None:
        """By an older plan; None where that is no longer known."""
        async with self._making:
            hops = self._older.get(generation)
            plan = self.generations.get(generation) if self.generations else None
            if hops is None and plan is not None and self._serves(plan):
                try:
                    hops = self._older[generation] = await self._make(plan)
                except Exception:
                    log.exception("plan generation %d cannot be used any more", generation)
            return hops

    def hurry(self, now: bool) -> None:
        """Agents batch by themselves; nothing to do."""

    def stats(self) -> Stats:
        counts = self._counts
        counts.state = "draining" if self._draining else "serving" if self.ready else "starting"
        node = self._node
        counts.in_flight = len(node.in_work) if node else 0
        counts.inbox = node.load() - counts.in_flight if node else 0
        engine = self._engine.trouble if self._engine else ""
        counts.trouble = self.refused or engine or self._trouble
        counts.rss = resident_bytes()
        counts.plan = self.plan.generation
        counts.process = self.number
        return counts

    def drained(self) -> bool:
        node = self._node
        if node is None:
            return True
        node.hand_back(time.monotonic())
        if node.alone() and time.monotonic() - self._drain_began >= ALONE_SECONDS:
            node.close()
        if self._mesh is not None:
            self._mesh.flush()
        return node.idle() or node.may_leave()

    # workers

    def wake(self) -> None:
        """Set one idle worker to work; it sets on the next while there is more."""
        node = self._node
        if node is None:
            return
        while self._idle and node.ready():
            future = self._idle.pop()
            if not future.done():
                future.set_result(None)
                return

    def _wake_next(self) -> None:
        self._waking = False
        self.wake()

    def _resize(self, concurrency: int) -> None:
        while len(self._workers) < concurrency:
            worker = _Worker()
            worker.task = asyncio.create_task(self._work(worker))
            self._workers.append(worker)
        for worker in self._workers[concurrency:]:
            # One that has a row ends after it; one without is woken to see that it is too many.
            worker.surplus = True
            if not worker.since and worker.task is not None:
                worker.task.cancel()
        del self._workers[concurrency:]

    async def _work(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        node = self._node
        assert node is not None
        while self._node is node:
            work = node.take(time.monotonic())
            if work is None:
                if node.quarantine and self._mesh is not None:
                    self._mesh.flush()  # Holders have to be told before a suspect is begun.
                future: asyncio.Future[None] = loop.create_future()
                self._idle.append(future)
                await future
                continue
            if self._idle and not self._waking and node.ready():
                # Soon and not now: rows that are handled without waiting need no second worker.
                self._waking = True
                loop.call_soon(self._wake_next)
            await self._handle(worker, node, work)
            self._turn += 1
            if self._turn >= ROWS_PER_TURN:
                self._turn = 0
                await asyncio.sleep(0)
            if worker.surplus:
                return

    async def _handle(self, worker: _Worker, node: AgentNode, work: Work) -> None:
        hops = self._hops
        assert hops is not None
        message = work.message
        if message.plan != self._generation:
            worker.since = math.inf  # It has a row; and the wait is not the row's fault.
            hops = await self._hops_for(message)
        worker.since = started = time.monotonic()
        try:
            branches = [part.message for part in work.branches[1:]] if work.branches else []
            for each in (message, *branches):
                if each.part is not None:
                    each.body = await self.parts.fetch(each.part)
                    each.part = None
            if message.crashes > node.max_crashes:
                outcome: Passed | Again = hops.dead(message, node.too_many_crashes(message))
            else:
                outcome = hops.late(message) or await hops.handle(message, branches)
        except EngineDead as dead:
            _die(f"{self.place.name} starts anew: {dead}")
            return
        except PartLost as lost:
            log.warning("row %d is lost here and will be issued again: %s", message.row, lost)
            node.lose(work)
            return
        except asyncio.CancelledError:
            if not worker.late:
                raise
            worker.late = False
            if worker.task is not None:
                worker.task.uncancel()
            outcome = hops.timed_out(message)
        finally:
            worker.since = 0.0
        now = time.monotonic()
        counts = self._counts
        counts.hops += 1
        counts.seconds += now - started
        # Until a row passes again: where an endpoint is down, no row does.
        self._trouble = "" if isinstance(outcome, Passed) else outcome.reason
        counts.prompt_tokens += outcome.prompt_tokens
        counts.completion_tokens += outcome.completion_tokens
        if isinstance(outcome, Passed):
            to, body, segment = outcome.to, outcome.body, outcome.segment
            if outcome.ways:
                node.divide(work, outcome.ways, to, body, segment, now)
            else:
                node.complete(work, to, body, segment, now, reason=outcome.reason)
            if self._mesh is not None:
                self._mesh.flush()
        else:
            self._retry_later(node, work, outcome)

    def _retry_later(self, node: AgentNode, work: Work, again: Again) -> None:
        handle: asyncio.TimerHandle

        def retry() -> None:
            self._retries.discard(handle)
            node.retry(work)
            self.wake()

        handle = asyncio.get_running_loop().call_later(again.delay, retry)
        self._retries.add(handle)

    async def _watch(self) -> None:
        """Cancel what takes longer than `delivery.handlerTimeout`."""
        while True:
            await asyncio.sleep(WATCH_EVERY)
            limit = time.monotonic() - self.plan.delivery.handler_timeout_seconds
            for worker in self._workers:
                if 0.0 < worker.since < limit and worker.task is not None:
                    worker.late = True
                    worker.task.cancel()


def _lanes(plan: Plan) -> int:
    """In how many parts one row may be on its way, itself counted twice where it is joined."""
    fans = [step.fan_out for step in plan.flow.steps if step.fan_out is not None]
    return 1 + max((len(fan.ways) + 1 for fan in fans), default=0)


async def _close(hops: Hops) -> None:
    await hops.agent.close()
    await hops.close()
