"""The head process: directory, source and status of one run. No row's data passes through it but on
the way in."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from weft.data.errors import OutputError, SourceError
from weft.data.injected import BadRows, InjectedRows
from weft.data.plans import StoredPlans
from weft.data.probe import probe_store
from weft.data.source import SourceInfo, inspect
from weft.data.storage import from_environment
from weft.data.table import OutputTable, claim_generation
from weft.protocol.committed import CommittedRows
from weft.protocol.directory import Directory, Joining
from weft.protocol.source import SourceNode
from weft.protocol.view import View
from weft.runtime import collector, limits
from weft.runtime.accounts import accounts_of
from weft.runtime.budget import Budget
from weft.runtime.feed import Feed
from weft.runtime.injection import Injection, Taken
from weft.runtime.limits import money
from weft.runtime.lineage.emitter import Lineage
from weft.runtime.parts import RayParts
from weft.runtime.process import Place
from weft.runtime.registry import Registry
from weft.runtime.report import instances, pool_statuses
from weft.runtime.status import OutputStatus, RowCounts, Status, TokenCounts
from weft.runtime.succession import PlanRefused, Succession
from weft.transport.handshake import Identity
from weft.transport.mesh import Mesh
from weft.transport.server import Server
from weft.transport.wire import Connection, FrameReader
from weft_api.plan import Plan

TICK = 0.1
STOP_AFTER = 0.3
"""Seconds that the members have to hear of the end before the head's connections close."""

REPORT_TIMEOUT = 2.0
"""Seconds that the members have at the end to say what they have used. On a busy machine they need
some; one that hangs has reported once a second before."""

OFFER_TIMEOUT = 2.0
"""Seconds that the members have to say whether they could run by a new plan. One that has just died
or hangs must not hold a change up for long; and who would refuse it says so later as well."""

_T = TypeVar("_T")

log = logging.getLogger(__name__)


class HeadProcess:
    """Runs a plan from the first row that is not committed to the last."""

    def __init__(
        self,
        place: Place,
        plan: Plan,
        *,
        grace: float,
        rolls: bool = True,
        on_death: Callable[[str], None] = lambda name: None,
    ) -> None:
        """`grace`: seconds to wait for members that a head before this one knew; 0 for a first
        start. `rolls`: somebody starts new processes where a plan needs them (the operator does;
        on a laptop such a plan is refused). `on_death` gets the name of a process whose lease ran
        out."""
        self.place = place
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.phase = "Starting"
        self.message = ""
        self._grace = grace
        self._rolls = rolls
        self._updating = asyncio.Lock()
        self._on_death = on_death
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="table")
        stored = StoredPlans(plan.output.uri, from_environment())
        self._plans = Succession(plan, stored, self._call, rolls=rolls)
        self._started = time.time()
        self._began = time.monotonic()
        self._ended_at = 0.0
        self._info: SourceInfo | None = None
        self._done = CommittedRows()
        self._resumed = 0
        self._before: dict[str, int] = {}
        self._version = 0
        self._node: SourceNode | None = None
        self._mesh: Mesh | None = None
        self._registry: Registry | None = None
        self._feed: Feed | None = None
        self._budget: Budget | None = None
        self.parts = RayParts(place.actor or place.name)
        self._stopping = asyncio.Event()
        self._all_ended = asyncio.Event()
        self._all_arrived = False
        self._accounts = accounts_of(plan.output.uri, from_environment())
        self._lineage = Lineage(from_environment())
        injected = InjectedRows(plan.output.uri, plan.source, from_environment())
        self._injection = Injection(injected, self._call_soon, self._injected)
        self._stop: limits.Stop | None = None
        """How it is to end; None while it goes on."""

    @property
    def plan(self) -> Plan:
        """The one in force."""
        return self._plans.plan

    async def run(self) -> Status:
        """Returns the final status: `Succeeded`, or `Failed` with the line that says why."""
        server = Server(self.place.token, self._take)
        feeding: asyncio.Task[None] | None = None
        try:
            async with self._updating:
                generation = await self._open()
            collector.spare()
            await server.start(self.place.bind)
            node = self._serve(generation, f"{self.place.advertise}:{server.port}")
            self._accounts.begin()
            assert self._registry is not None
            self._budget = budget = Budget(self._registry, self._accounts.used)
            self._feed = feed = Feed(
                self.plan,
                from_environment(),
                self._done,
                node,
                self._flush,
                self._injection.rows,
                budget,
            )
            self.phase = "Running"
            self._look_at_limits()  # Before the first row: a budget may be spent already.
            feeding = asyncio.create_task(feed.run())
            await self._watch(node, feed, feeding)
        except (OutputError, SourceError, PlanRefused) as error:
            self._fail(str(error))
        finally:
            self._ended_at = time.monotonic()
            if feeding is not None:
                feeding.cancel()
            if self._feed is not None:
                self._feed.close()
            if self._registry is not None:
                await self._registry.last_reports(REPORT_TIMEOUT)
                self._registry.stop()
                await asyncio.sleep(STOP_AFTER)
            if self._mesh is not None:
                await self._mesh.close()
            await server.close()
            self._accounts.end()
            self._account()
            await self._call(self._accounts.save)
            await self._lineage.end(self.plan, self.status())
            self._thread.shutdown(wait=False)
        return self.status()

    def drain(self) -> None:
        """Issue nothing more; the run ends when what is on its way has ended."""
        self._wind_down(limits.Stop("Stopped", limits.DRAINED, ""))

    def stop(self) -> None:
        """End at once. What is on its way is issued again by the next run."""
        self._stopping.set()
        self._all_ended.set()

    async def update(self, plan: Plan) -> None:
        """Hand a newer plan to everyone, once it is kept where the next head finds it.

        Raises `PlanRefused`: the old one goes on then, with everybody."""
        async with self._updating:
            if self._ended_at:
                raise PlanRefused("the run is over; start it again")
            if plan == self.plan:
                return  # Handed over again, by one who had no answer the first time.
            registry = self._registry

            async def offer(plan_json: str) -> list[str]:
                return await registry.offer(plan_json, OFFER_TIMEOUT) if registry else []

            begun = self._done.counts["accepted"]
            begun += len(self._node.outstanding) if self._node is not None else 0
            await self._plans.replace(plan, begun=begun, offer=offer)
            self._adopt(plan)
            log.info("plan generation %d is out", plan.generation)

    def _adopt(self, plan: Plan) -> None:
        """Issue rows by the plan from here on, and tell everyone."""
        node, feed, registry = self._node, self._feed, self._registry
        generations = self._plans.generations
        if node is not None:
            node.plan = plan.generation
            node.entry = plan.flow.entry
            node.max_rows = plan.delivery.in_flight_rows
            node.max_bytes = plan.delivery.in_flight_bytes
            oldest = min((o.plan for o in node.outstanding.values()), default=plan.generation)
            if oldest:  # Of rows that an earlier head issued it is not known.
                # All since then: a row begins by the newest that its first agent has, not by the
                # one that it was issued by.
                generations.drop_before(oldest)
        if feed is not None:
            feed.update(plan)
            if self._stop is not None and self._stop.phase == "Stopped" and self._may_go_on():
                self._stop = None
                self.phase = "Running"
                feed.suspended = False
        if registry is not None:
            plans = generations.all()
            kept = [kept.generation for kept in plans]
            registry.update_plans([kept.to_json() for kept in plans], kept)

    # starting

    async def _open(self) -> int:
        """Read back what is committed. Returns this head's generation."""
        options = from_environment()
        await self._call(partial(probe_store, self.plan.output.uri, options))
        await self._plans.begin(waits=bool(self._grace))
        plan = self.plan
        self._info = info = await self._call(lambda: inspect(plan.source, options))
        self._lineage.columns = info.columns
        table = await self._call(
            lambda: OutputTable.open(
                plan.output.uri,
                options,
                pipeline=plan.pipeline,
                uid=plan.uid,
                partitions=plan.delivery.writers,
                source=info.fingerprint,
            )
        )
        try:
            self._partitions = table.partitions
            self._uri = table.uri
            self._version = table.version
            if table.source and table.source != info.fingerprint:
                self.message = (
                    "the source has changed since this output was begun; rows are told by their "
                    "place in it, so only rows added at the end are safe"
                )
                log.warning("%s", self.message)
            generation = await self._call(lambda: claim_generation(table, "source"))
            self._done = await self._call(table.committed)
        finally:
            await self._call(table.close)
        self._resumed = len(self._done)
        self._before = dict(self._done.counts)
        await self._call(self._accounts.load)
        await self._call(self._injection.rows.load)
        return generation

    def _serve(self, generation: int, address: str) -> SourceNode:
        now = time.monotonic()
        delivery = self.plan.delivery
        directory = Directory(
            generation=generation,
            lease=delivery.lease_seconds,
            now=now,
            writers=delivery.writers,
            writer_partitions=self._partitions,
            grace=self._grace,
        )
        member = directory.join(Joining("source", self.place.name, address), now)
        assert member is not None
        self._node = node = SourceNode(
            member.incarnation,
            entry=self.plan.flow.entry,
            generation=generation,
            max_rows=delivery.in_flight_rows,
            max_bytes=delivery.in_flight_bytes,
            seed=self.plan.seed,
        )
        node.parts = self.parts
        node.plan = self.plan.generation
        if self._grace:
            node.adopt(now + self._grace)
        self._mesh = Mesh(
            node,
            token=self.place.token,
            pipeline=self.place.pipeline,
            on_frame=self._take_ended,
        )
        plans = self._plans.generations.all()
        self._registry = Registry(
            directory,
            [plan.to_json() for plan in plans],
            kept=[plan.generation for plan in plans],
            on_view=self._take_view,
            on_death=lambda member: self._on_death(member.name),
        )
        self._registry.publish(now)
        self.address.set_result(address)
        return node

    # running

    async def _watch(self, node: SourceNode, feed: Feed, feeding: asyncio.Task[None]) -> None:
        registry = self._registry
        assert registry is not None
        while not self._stopping.is_set():
            now = time.monotonic()
            registry.directory.heartbeat(node.incarnation, now)
            registry.tick(now)
            self._account()
            self._look_at_limits()
            self._lineage.note(self.plan, self.status)
            if node.room():
                # Room comes with time as well as with frames: when members of an earlier head have
                # been waited for.
                feed.room()
            if feeding.done():
                feeding.result()
            if feed.exhausted or feed.awaits_target:
                registry.hurry()
            over = (feed.exhausted or feed.suspended) and not self._injection.busy
            if over and not node.outstanding and not node.adopting:
                self._stop = self._stop or limits.at_the_end(
                    self.plan, self._done.counts["accepted"]
                )
                self._end_as(self._stop)
                return
            try:
                async with asyncio.timeout(TICK):
                    await self._all_ended.wait()
            except TimeoutError:
                continue
            self._all_ended.clear()
        if not self._rolls:  # On a cluster another head goes on at once.
            self._end_as(limits.Stop("Stopped", limits.INTERRUPTED, ""))

    def _take(self, identity: Identity, connection: Connection, reader: FrameReader) -> str:
        if self._mesh is None or self._registry is None:
            return "not serving yet"
        if identity.pipeline != self.place.pipeline:
            return f"this is the head of {self.place.pipeline!r}, not of {identity.pipeline!r}"
        if identity.purpose == "directory":
            return self._registry.take(identity, connection, reader)
        return self._mesh.take(identity, connection, reader)

    def _take_view(self, view: View) -> None:
        if self._mesh is not None:
            self._mesh.apply_view(view)

    def _take_ended(self) -> None:
        node = self._node
        if node is None:
            return
        ended, node.ended = node.ended, []
        for done in ended:
            self._done.add(done.row, done.status)
        if ended and not node.outstanding:
            self._all_ended.set()
        if self._feed is not None:
            if node.room():
                self._feed.room()
            self._hurry_last(node, self._feed)

    def _hurry_last(self, node: SourceNode, feed: Feed) -> None:
        """Have the writers commit at once when they have all that is under way, and no more is to
        come, or none before it is known how these ended."""
        over = feed.exhausted or feed.suspended or feed.awaits_target
        over = over and not self._injection.busy
        arrived = over and 0 < len(node.outstanding) == len(node.arrived)
        if arrived and not self._all_arrived and self._registry is not None:
            self._registry.hurry(now=True)
        self._all_arrived = arrived

    def _flush(self) -> None:
        if self._mesh is not None:
            self._mesh.flush()

    def _fail(self, line: str) -> None:
        self.phase = "Failed"
        self.message = line
        log.error("%s", line)
        if not self.address.done():
            self.address.cancel()

    # injected rows

    async def inject(self, rows: bytes, priority: int | None, within: float | None = None) -> Taken:
        """Take rows (JSON Lines) besides the source's. Raises `BadRows`."""
        if self.phase != "Running" or self._node is None:
            raise BadRows(f"the run takes no rows at the moment: it is {self.phase.lower()}")
        return await self._injection.take(rows, priority, self.plan, within=within)

    def _injected(self) -> None:
        if self._feed is not None:
            self._feed.room()

    def _call_soon(self, function: Callable[[], _T]) -> asyncio.Future[_T]:
        return asyncio.ensure_future(self._call(function))

    # ending

    def _look_at_limits(self) -> None:
        """Begin to end when a budget is spent, the target is reached, or too much is rejected."""
        counts, before = self._done.counts, self._before
        stop = limits.spent(self.plan, self._accounts.used(self.plan)) or self._look_at_budget()
        stop = stop or limits.too_many_rejected(
            self.plan, *(counts[end] - before[end] for end in ("accepted", "rejected", "dead"))
        )
        target = self.plan.output.target_rows
        if target is not None and counts["accepted"] >= target:
            stop = limits.target_reached(target, counts["accepted"])
        if stop is not None:
            self._wind_down(stop)

    def _look_at_budget(self) -> limits.Stop | None:
        """Begin no more rows than it bears. How to end, where it bears none any more."""
        node, feed, budget = self._node, self._feed, self._budget
        if node is None or feed is None or budget is None or self.phase != "Running":
            return None
        ended, waiting = len(self._done) + len(node.arrived), feed.awaits_budget
        budget.look(self.plan, ended, time.monotonic(), waiting=waiting)
        if waiting:
            feed.room()
        return budget.ends(self.plan, feed.begun, ended) if waiting else None

    def _wind_down(self, stop: limits.Stop) -> None:
        """Begin no row any more; what is on its way ends, and then the run."""
        if self._feed is not None and self.phase == "Running":
            self._stop = stop
            self.phase = "Draining"
            self._feed.suspended = True
            log.info("%s %s", stop.reason, stop.message)
            if self._registry is not None:
                self._registry.hurry()

    def _may_go_on(self) -> bool:
        """A budget that was spent has been raised before the last row ended."""
        assert self._stop is not None
        spent = limits.spent(self.plan, self._accounts.used(self.plan))
        return self._stop.reason in limits.BUDGETS and spent is None

    def _end_as(self, stop: limits.Stop) -> None:
        self._stop = stop
        self.phase = stop.phase

    def _account(self) -> None:
        """Take in what the processes say of themselves."""
        registry = self._registry
        if registry is None:
            return
        self._accounts.note(registry.stats, registry.directory.members, self.plan)
        self._version = max([self._version, *(each.version for each in registry.stats.values())])
        self._accounts.save_soon(self._call_soon)

    # status

    def status(self) -> Status:
        node, counts = self._node, self._done.counts
        total = self._info.rows if self._info else None
        if total is not None and self.plan.source.limit is not None:
            total = min(total, self.plan.source.limit)
        if self._feed is not None and self._feed.exhausted:
            total = self._feed.read
        if total is not None:
            total += len(self._injection.rows)
        committing = len(node.arrived) if node else 0
        in_flight = len(node.outstanding) - committing if node else 0
        prompt_tokens, completion_tokens = self._accounts.tokens()
        cost = self._accounts.used(self.plan).cost
        return Status(
            pipeline=self.plan.pipeline,
            phase=self.phase,
            plan_generation=self.plan.generation,
            message=self.message or (self._stop.message if self._stop else self._trouble()),
            rows=RowCounts(
                total=total,
                accepted=counts["accepted"],
                rejected=counts["rejected"],
                dead=counts["dead"],
                in_flight=in_flight,
                pending=None
                if total is None
                else max(0, total - len(self._done) - in_flight - committing),
                resumed=self._resumed,
                reissued=node.reissued if node else 0,
                committing=committing,
                target=self.plan.output.target_rows,
            ),
            tokens=TokenCounts(prompt_tokens, completion_tokens),
            pools=pool_statuses(self.plan, self._registry),
            writers=instances(self._registry, "writer"),
            output=OutputStatus(self.plan.output.uri, self._version),
            started=self._started,
            elapsed=(self._ended_at or time.monotonic()) - self._began,
            reason=self._stop.reason if self._stop else "",
            cost=None if cost is None else money(cost),
        )

    def _trouble(self) -> str:
        """What keeps rows waiting at the moment, or what else is not as it should be; or ""."""
        for stats in self._registry.stats.values() if self._registry else ():
            if stats.trouble:
                return stats.trouble
        return self._plans.refused or self._lineage.trouble

    async def _call(self, function: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)
