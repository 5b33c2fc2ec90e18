"""The writer process: commits finished rows to the Delta table, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from weft.data.errors import OutputError, Superseded
from weft.data.storage import from_environment
from weft.data.table import OutputTable
from weft.protocol.committed import CommittedRows
from weft.protocol.directory import Joining
from weft.protocol.node import Node
from weft.protocol.view import Member
from weft.protocol.writer import Batch, WriterNode
from weft.runtime.parts import PartLost
from weft.runtime.process import Place, Process, resident_bytes
from weft.runtime.status import Stats
from weft.transport.mesh import Mesh
from weft_api.plan import Plan

RETRY_AFTER = 1.0
"""Seconds between a failed commit and the next try; the store's own patience comes on top."""
HURRY = 1.0
"""Seconds that a finished row waits for company at the most once the source is exhausted, or
only the target holds it back; the last ones do not wait."""

_T = TypeVar("_T")

log = logging.getLogger(__name__)


class WriterProcess(Process):
    role = "writer"

    def __init__(self, place: Place, locate: Callable[[], Awaitable[str]]) -> None:
        super().__init__(place, locate)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="table")
        self._table: OutputTable | None = None
        self._node: WriterNode | None = None
        self._commits: set[asyncio.Task[None]] = set()
        self._counts = Stats()
        self._hurried = False
        self._last = False
        """What is here is all that will come."""

    async def prepare(self, plan: Plan) -> None:
        self._table = await self._call(
            lambda: OutputTable.open(
                plan.output.uri,
                from_environment(),
                pipeline=plan.pipeline,
                uid=plan.uid,
                partitions=plan.delivery.writers,
            )
        )

    def joining(self, address: str) -> Joining:
        return Joining("writer", self.place.name, address)

    async def make_node(self, member: Member) -> Node:
        assert self._table is not None
        table = self._table
        committed = CommittedRows()
        for partition in member.partitions:
            claim = await self._call(partial(table.claim, partition))
            committed.merge(claim.rows)
        node = WriterNode(
            member.incarnation,
            partitions=table.partitions,
            owned=member.partitions,
            committed=committed,
            interval=self._interval(self.plan),
        )
        log.info("%s commits partitions %s", self.place.name, list(member.partitions))
        return node

    def start(self, node: Node, mesh: Mesh) -> None:
        assert isinstance(node, WriterNode)
        self._node = node
        self._counts.state = "serving"

    async def stop(self) -> None:
        self._node = None
        # A commit cannot be called back: wait for it, so that the thread is free for the next node.
        await asyncio.gather(*self._commits, return_exceptions=True)

    async def close(self) -> None:
        if self._table is not None:
            await self._call(self._table.close)
        self._thread.shutdown()

    async def update(self, plan: Plan) -> None:
        if self._node is not None:
            self._node.interval = self._interval(plan)

    def _interval(self, plan: Plan) -> float:
        interval = plan.output.commit_interval
        return min(HURRY, interval) if self._hurried else interval

    def hurry(self, now: bool) -> None:
        self._hurried = True
        self._last = now
        if self._node is not None:
            self._node.interval = self._interval(self.plan)
        self.wake()

    def wake(self) -> None:
        node = self._node
        if node is None:
            return
        now = time.monotonic()
        self._last = self._last and not node.idle()
        for partition in node.due(now, flush=self._draining or self._last):
            task = asyncio.create_task(self._commit(node, node.take_batch(partition)))
            self._commits.add(task)
            task.add_done_callback(self._commits.discard)

    def stats(self) -> Stats:
        counts = self._counts
        node = self._node
        counts.state = "draining" if self._draining else "serving" if self.ready else "starting"
        counts.inbox = node.load() if node else 0
        counts.in_flight = sum(len(b.rows) for b, _ in node.in_commit.values()) if node else 0
        counts.rss = resident_bytes()
        counts.plan = self.plan.generation
        counts.process = self.number
        return counts

    def drained(self) -> bool:
        self.wake()
        return self._node is None or self._node.idle()

    async def _commit(self, node: WriterNode, batch: Batch) -> None:
        assert self._table is not None
        table = self._table
        await self._fetch_parts(node, batch)
        try:
            commit = await self._call(lambda: table.commit(batch.partition, batch.rows))
        except Superseded as error:
            log.warning("%s: %s", self.place.name, error)
            self._dead.set()
            return
        except OutputError as error:
            self._counts.trouble = str(error)
            log.error("rows wait for the output: %s", error)
            await asyncio.sleep(RETRY_AFTER)
            node.failed(batch, time.monotonic())
            return
        self._counts.trouble = ""
        self._counts.version = commit.version
        self._counts.hops += commit.rows
        node.committed(batch, time.monotonic(), already=commit.already)
        if self._mesh is not None:
            self._mesh.flush()
        self._membership.beat_now()
        self.wake()

    async def _fetch_parts(self, node: WriterNode, batch: Batch) -> None:
        """Get the bodies that did not travel with their messages; rows whose body is lost go."""
        for finished in batch.rows:
            if finished.part is None:
                continue
            try:
                finished.body = await self.parts.fetch(finished.part)
            except PartLost as lost:
                log.warning("row %d is lost here, to be issued again: %s", finished.row, lost)
                node.lose(batch, finished.row)

    async def _call(self, function: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)
