"""The rows that all replicas of a pool have seen: an index in parts, each an actor of Ray's own.

A row asks the parts one after another, always in the same order, and stops at the first that knows
a row like it. Two rows that are alike share a band; the first part that has such a band decides,
and it takes rows one at a time: so one of the two passes, whichever replicas they are at. That all
ask in one order keeps three from shutting each other out in a ring.

*What a death costs.* A part that dies is started again by Ray, wherever there is room, and learns
anew what the output has as accepted; meanwhile rows wait, and are tried again. Rows that had passed
and were not committed then are unknown to it. A replica that dies takes nothing along but, at
worst, what it was about to take back: a row that another part shut out still counts as seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from typing import TYPE_CHECKING, Any

from weft.builtin.likeness import Found, Seen, Signature
from weft.engines.base import EngineError

if TYPE_CHECKING:
    from weft.builtin.near_duplicates import NearDuplicateConfig

BATCH = 256
"""Rows that go to a part in one call, at most; they gather while the call before is under way."""
ANSWER_SECONDS = 60.0
"""For which a row waits; a part that has just started may still read the output."""
LEAVE_SECONDS = 2.0

Asked = tuple[str, int, Signature]
"""Name, attempt, signature."""

log = logging.getLogger(__name__)


class Part:
    """One part of the index. Hosted by Ray; the calls come from all replicas."""

    def __init__(self, config: NearDuplicateConfig, number: int, uri: str) -> None:
        self._config = config
        self._uri = uri
        self._seen = Seen(config.threshold, config.capacity, part=number, parts=config.parts)
        self._loaded = False
        self._loading = asyncio.Lock()
        self._users: set[str] = set()

    async def add(self, user: str, rows: list[Asked]) -> list[Found | None]:
        self._users.add(user)
        async with self._loading:
            if not self._loaded:
                await asyncio.to_thread(self._load)
                self._loaded = True
        return [self._seen.add(name, signed, attempt=attempt) for name, attempt, signed in rows]

    async def forget(self, rows: list[tuple[str, int]]) -> None:
        for name, attempt in rows:
            self._seen.forget(name, attempt)

    async def size(self) -> int:
        return len(self._seen)

    async def leave(self, user: str) -> None:
        """The last one who leaves ends it: nobody asks by this config any more."""
        self._users.discard(user)
        if not self._users:
            import ray

            ray.actor.exit_actor()

    def _load(self) -> None:
        from weft.data.accepted import AcceptedRows
        from weft.data.storage import from_environment

        for row in AcceptedRows(self._uri, from_environment()).all():
            self._seen.add(row.id, self._config.signature(row), keep_duplicates=True)


class SharedIndex:
    """A replica's way to all parts. Use it in one event loop."""

    def __init__(self, config: NearDuplicateConfig, step: str, uri: str) -> None:
        """The parts are those of all replicas with the same step, config and output."""
        told = f"{step}\n{uri}\n{config.model_dump_json()}".encode()
        name = f"weft-seen-{hashlib.sha256(told).hexdigest()[:16]}"
        user = random.Random().randbytes(8).hex()
        self._lines = [_Line(config, name, number, uri, user) for number in range(config.parts)]
        self._attempts = random.Random()

    async def add(self, name: str, signed: Signature) -> Found | None:
        """As `Seen.add`. Raises a transient `EngineError` where a part does not answer."""
        attempt = self._attempts.getrandbits(63)
        for number, line in enumerate(self._lines):
            found = await line.ask((name, attempt, signed))
            if found is not None:
                for earlier in self._lines[:number]:
                    earlier.take_back(name, attempt)
                return found
        return None

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.gather(*(line.leave() for line in self._lines))


class _Line:
    """The rows of this replica that wait for one part: one call at a time, with all that wait."""

    def __init__(
        self, config: NearDuplicateConfig, name: str, number: int, uri: str, user: str
    ) -> None:
        self._config, self._number, self._uri = config, number, uri
        self._name = f"{name}-{number}"
        self._user = user
        self._waiting: list[tuple[Asked, asyncio.Future[Found | None]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._part: Any = None

    def ask(self, row: Asked) -> asyncio.Future[Found | None]:
        future: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, future))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return future

    def take_back(self, name: str, attempt: int) -> None:
        """Unanswered: where it is lost, a row that does not go on counts as seen."""
        if self._part is not None:
            self._part.forget.remote([(name, attempt)])

    async def leave(self) -> None:
        import ray

        if self._part is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                await self._part.leave.options(max_task_retries=0).remote(self._user)

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                # A row whose attempt has ended meanwhile is not to be remembered.
                batch = [(row, future) for row, future in batch if not future.done()]
                if not batch:
                    continue
                try:
                    answers = await self._ask([row for row, _ in batch])
                except Exception as error:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                    continue
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
        finally:
            self._sending = None

    async def _ask(self, rows: list[Asked]) -> list[Found | None]:
        import ray

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._part is None:
                    loop = asyncio.get_running_loop()
                    self._part = await loop.run_in_executor(None, self._found_or_made)
                answers: list[Found | None] = await self._part.add.remote(self._user, rows)
                return answers
        except (TimeoutError, ValueError, ray.exceptions.RayError) as error:
            self._part = None  # One that has left for good is made anew at the next attempt.
            told = str(error).strip().splitlines()
            raise EngineError(
                f"part {self._number} of the index of rows that were seen does not answer "
                f"({told[-1] if told else f'within {ANSWER_SECONDS:g} s'})",
                transient=True,
            ) from None

    def _found_or_made(self) -> Any:
        """Blocks. On this node where there is room, else, and after its end, on any."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        return (
            ray.remote(Part)
            .options(
                name=self._name,
                get_if_exists=True,
                lifetime="detached",
                scheduling_strategy=here,
                num_cpus=0,
                max_restarts=-1,
                max_task_retries=-1,
                enable_task_events=False,
            )
            .remote(self._config, self._number, self._uri)
        )
