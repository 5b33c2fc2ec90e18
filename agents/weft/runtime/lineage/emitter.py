"""Sends a run's events from a thread of its own: whatever becomes of them, the run goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from weft.data.beside import Beside
from weft.data.errors import OutputError
from weft.data.storage import absolute, delta_options
from weft.runtime.status import Status
from weft_api.lineage import OpenLineageSpec
from weft_api.plan import Plan

if TYPE_CHECKING:
    # The client, and what it brings, is imported by who has a receiver only.
    from openlineage.client.event_v2 import RunState
    from openlineage.client.transport.http import HttpTransport

    from weft.runtime.lineage.events import Written
    from weft.runtime.lineage.run_id import KnownRun

RUNNING_EVERY = 60.0
"""Seconds between two RUNNING events."""
TRY_SECONDS = 5.0
"""For one attempt to send an event."""
RETRIES = 2
"""Further attempts, where the receiver is away or answers 5xx or 429."""
END_SECONDS = 5.0
"""So long the end of a run waits for its last event to be sent."""
MOST_WAITING = 8
"""Events; what comes on top is dropped."""

log = logging.getLogger(__name__)


class _Moment(msgspec.Struct):
    at: datetime
    plan: Plan
    status: Status
    last: bool


class Lineage:
    """`note` from time to time, and `end` at the end. Neither blocks nor raises."""

    def __init__(self, storage_options: Mapping[str, str]) -> None:
        self.trouble = ""
        """Why events are not received at the moment; one line."""
        self.columns: frozenset[str] | None = None
        """The source's."""
        self._options = storage_options
        self._due = 0.0
        self._waiting: queue.Queue[_Moment] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._run: KnownRun | None = None
        self._first: RunState | None = None
        """What the receiver has to be told before anything else."""
        self._sent_to: tuple[OpenLineageSpec, HttpTransport] | None = None

    def note(self, plan: Plan, status: Callable[[], Status]) -> None:
        """The run goes on; an event is made of it when one is due."""
        if plan.open_lineage is not None and time.monotonic() >= self._due:
            self._due = time.monotonic() + RUNNING_EVERY
            self._put(plan, status(), last=False)

    async def end(self, plan: Plan, status: Status) -> None:
        """The head's work is over; waits a moment for what is still to be sent."""
        if plan.open_lineage is None:
            return
        self._put(plan, status, last=True)
        assert self._thread is not None
        await asyncio.to_thread(self._thread.join, END_SECONDS)
        if self._thread.is_alive():
            self._tell(f"{plan.open_lineage.url} does not answer; the last event is not waited for")

    def _put(self, plan: Plan, status: Status, *, last: bool) -> None:
        if self._thread is None:
            # A daemon: it must not keep a process from ending.
            self._thread = threading.Thread(target=self._work, name="lineage", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(_Moment(datetime.now(UTC), plan, status, last))
        except queue.Full:
            self._tell("events wait for their receiver, and this one is dropped")

    def _tell(self, problem: str) -> None:
        """In the log once, and no more until it changes."""
        line = f"spec.lineage.openLineage: {problem}" if problem else ""
        if line and line != self.trouble:
            log.warning("%s; the run goes on without", line)
        self.trouble = line

    # in the thread

    def _work(self) -> None:
        last = False
        while not last:
            moment = self._waiting.get()
            last = moment.last
            try:
                self._send(moment)
                self._tell("")
            except Exception as error:
                told = " ".join(str(error).split())[:300] or type(error).__name__
                self._tell(told)

    def _send(self, moment: _Moment) -> None:
        from openlineage.client.event_v2 import RunState

        from weft.runtime.lineage.events import STATES, Written

        end = STATES.get(moment.status.phase) if moment.last else None
        if moment.last and end is None:
            return  # Another head goes on with the run.
        files = Beside(moment.plan.output.uri, self._options, patience=TRY_SECONDS)
        written = self._written(moment.plan)
        if self._run is None:
            from weft.runtime.lineage.run_id import take_up

            self._run, fresh = take_up(files, written or Written(0, 0, 0, 0))
            self._first = RunState.START if fresh else RunState.RUNNING
            self._keep(files, self._run)
        # One that was not received comes again, so that no run ends that has not begun.
        first, self._first = self._first, None
        if first is not None and (end is None or first is RunState.START):
            try:
                self._emit(first, moment, written)
            except Exception:
                self._first = first
                raise
        elif end is None:
            self._emit(RunState.RUNNING, moment, written)
        if end is not None:
            self._emit(end, moment, written)
            self._keep(files, msgspec.structs.replace(self._run, ended=True))

    def _keep(self, files: Beside, run: KnownRun) -> None:
        from weft.runtime.lineage.run_id import keep

        try:
            keep(files, run)
        except OutputError as error:
            log.warning("another head would take this run for a new one: %s", error)

    def _emit(self, state: RunState, moment: _Moment, written: Written | None) -> None:
        from weft.runtime.lineage.events import event_of

        assert self._run is not None
        receiver = moment.plan.open_lineage
        assert receiver is not None
        event = event_of(
            state,
            run_id=self._run.id,
            at=moment.at,
            plan=moment.plan,
            status=moment.status,
            columns=self.columns,
            written=written.since(self._run.before) if written else None,
        )
        if self._sent_to is None or self._sent_to[0] != receiver:
            self._sent_to = receiver, _transport(receiver, os.environ)
        self._sent_to[1].emit(event)

    def _written(self, plan: Plan) -> Written | None:
        """What the table holds; None where it is not there, or cannot be asked."""
        from deltalake import DeltaTable

        from weft.runtime.lineage.events import Written

        try:
            uri = absolute(plan.output.uri)
            table = DeltaTable(uri, storage_options=delta_options(uri, self._options))
            actions = table.get_add_actions(flatten=True)
        except Exception:
            return None
        sizes, counts = actions["size_bytes"].to_pylist(), actions["num_records"].to_pylist()
        return Written(sum(count or 0 for count in counts), sum(sizes), len(sizes), table.version())


def _transport(receiver: OpenLineageSpec, environ: Mapping[str, str]) -> HttpTransport:
    from openlineage.client.transport.http import (
        ApiKeyTokenProvider,
        HttpConfig,
        HttpTransport,
        TokenProvider,
    )

    auth = TokenProvider({})
    if (ref := receiver.api_key_secret_ref) is not None:
        if not (key := environ.get(ref.variable)):
            raise ValueError(f"apiKeySecretRef: {ref.variable} is not set in the environment")
        auth = ApiKeyTokenProvider({"apiKey": key})
    retry = {
        "total": RETRIES,
        "backoff_factor": 0.5,
        "backoff_max": TRY_SECONDS,
        "status_forcelist": [429, 500, 502, 503, 504],
        "allowed_methods": ["POST"],
        "respect_retry_after_header": False,
    }
    return HttpTransport(
        HttpConfig(url=receiver.url.rstrip("/") + "/", timeout=TRY_SECONDS, auth=auth, retry=retry)
    )
