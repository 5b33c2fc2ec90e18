"""The Ray side: one actor a process. Ray places them, starts them again, and knows them by name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

import msgspec
import ray
from pydantic import ValidationError

from weft.runtime.process import Place, Process

if TYPE_CHECKING:
    from weft.runtime.head import HeadProcess

HEAD = "weft-head"
"""Name of the head's actor, in the pipeline's Ray namespace."""
GRACE = 3.0
"""Seconds that a head which is not the first waits for the members of its predecessor."""
LOCATE_TIMEOUT = 10.0

FOREVER: dict[str, Any] = {
    "num_cpus": 0,
    "max_restarts": -1,
    "max_task_retries": -1,
    "enable_task_events": False,
}
"""Options of every actor: started again for ever, and its `run` with it. CPUs are not counted by
Ray but by the pods; task events would grow the memory with every call."""

log = logging.getLogger(__name__)


def set_up_logging(name: str) -> None:
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s %(levelname)s {name}: %(message)s", force=True
    )


class HeadActor:
    """Hosts the head. `run` is its life; Ray calls it again in a process started afresh."""

    def __init__(self, place: Place, plan_json: str, *, fresh: bool = True) -> None:
        """`fresh`: no member of an earlier head can be alive (a laptop's first start), and nobody
        will start new processes for a new plan."""
        from weft_api.plan import Plan

        set_up_logging(place.name)
        self._head: HeadProcess | None = None
        self._fresh = fresh
        self._place = place
        self._plan = Plan.from_json(plan_json)
        self._up = asyncio.Event()

    async def run(self) -> bytes:
        """The final status, as JSON."""
        from weft.runtime.head import HeadProcess

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray warns of its own internals here.
            again = ray.get_runtime_context().was_current_actor_reconstructed
        grace = 0.0 if self._fresh and not again else GRACE
        self._head = head = HeadProcess(
            self._place, self._plan, grace=grace, rolls=not self._fresh, on_death=_restart
        )
        self._up.set()
        return msgspec.json.encode(await head.run())

    async def address(self) -> str:
        """`host:port` of the directory, once it serves."""
        await self._up.wait()
        assert self._head is not None
        return await asyncio.shield(self._head.address)

    async def status(self) -> bytes:
        """The status as JSON; empty before the head is up."""
        return msgspec.json.encode(self._head.status()) if self._head else b""

    async def plan(self) -> str:
        """The running plan, as JSON."""
        return (self._head.plan if self._head else self._plan).to_json()

    async def update(self, plan_json: str) -> str:
        """Take a newer plan: "" or the lines that say why it is refused."""
        from weft.runtime.succession import PlanRefused
        from weft_api.plan import Plan

        await self._up.wait()
        assert self._head is not None
        try:
            await self._head.update(Plan.from_json(plan_json))
        except ValidationError as error:
            return f"not a plan: {error.errors(include_url=False)[0]['msg']}"
        except PlanRefused as refused:
            return str(refused)
        return ""

    async def drain(self) -> None:
        if self._head is not None:
            self._head.drain()

    async def inject(self, rows: bytes, priority: int | None, within: float | None) -> bytes | str:
        """Take rows: the answer as JSON, or the lines that say why not."""
        from weft.data.injected import BadRows

        await self._up.wait()
        assert self._head is not None
        try:
            return msgspec.json.encode(await self._head.inject(rows, priority, within))
        except BadRows as error:
            return str(error)

    async def part(self, key: int) -> list[Any]:
        return self._head.parts.hand_out(key) if self._head else []

    async def pid(self) -> int:
        return os.getpid()

    async def stop(self) -> None:
        if self._head is not None:
            self._head.stop()


class _Member:
    """Hosts a process that joins the head's directory."""

    def __init__(self, place: Place) -> None:
        set_up_logging(place.name)
        self._process = self.make(place)

    def make(self, place: Place) -> Process:
        raise NotImplementedError

    async def run(self) -> str:
        """Returns when the run is over: "" or the line that says why this process cannot serve."""
        try:
            await self._process.run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("%s cannot go on", self._process.place.name)
            return " ".join(str(error).split()) or type(error).__name__
        return ""

    async def drain(self, timeout: float) -> bool:
        return await self._process.drain(timeout)

    async def part(self, key: int) -> list[Any]:
        return self._process.parts.hand_out(key)

    async def end(self) -> None:
        self._process.end()

    async def ready(self) -> bool:
        return self._process.ready

    async def pid(self) -> int:
        return os.getpid()


# Each role's code is imported in its own process only: an agent needs no Delta table, which costs
# memory and time to start.


class AgentActor(_Member):
    def make(self, place: Place) -> Process:
        from weft.runtime.agent import AgentProcess

        return AgentProcess(place, locate_head)


class WriterActor(_Member):
    def make(self, place: Place) -> Process:
        from weft.runtime.writer import WriterProcess

        return WriterProcess(place, locate_head)


async def locate_head() -> str:
    """The directory's address, asked of the head's actor. Raises `ConnectionError`."""
    loop = asyncio.get_running_loop()
    try:
        head = await loop.run_in_executor(None, ray.get_actor, HEAD)
        async with asyncio.timeout(LOCATE_TIMEOUT):
            return str(await head.address.remote())
    except (ValueError, TimeoutError, ray.exceptions.RayError) as error:
        raise ConnectionError(f"the head's actor does not answer ({error})") from None


def _restart(name: str) -> None:
    """A process that lost its lease may hang: end it, so that Ray starts it afresh."""

    def kill() -> None:
        with contextlib.suppress(ValueError, ray.exceptions.RayError):
            ray.kill(ray.get_actor(name), no_restart=False)

    asyncio.get_running_loop().run_in_executor(None, kill)
