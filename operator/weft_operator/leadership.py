"""Who leads: a Lease of coordination.k8s.io, held and renewed.

The elector in `kubernetes.aio` compares wall clocks, writes local time as UTC, dies of a broken
connection and does not hand the Lease back at its end; so the rules of client-go's elector
(https://pkg.go.dev/k8s.io/client-go/tools/leaderelection) are followed here: a Lease counts as
expired when it has not been seen to change for its duration, by one's own monotonic clock.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from weft_operator.api import LEASES, Api, ApiError
from weft_operator.jsontypes import Object, dig
from weft_operator.metrics import LEADER

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Times:
    """Seconds. A leader that cannot renew gives up before another may take over."""

    duration: float = 12.0
    deadline: float = 8.0
    retry: float = 2.0
    renew: float = 3.0
    """Between two renewals; each is one write."""


DEFAULT_TIMES: Final = Times()


class Leadership:
    """`await acquire()`, then `await hold()`: it returns when the Lease is lost."""

    def __init__(
        self,
        api: Api,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: Times = DEFAULT_TIMES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._times = times
        self._clock = clock
        self._seen: Object = {}
        self._seen_at = 0.0
        self.heard = clock()
        """When the API server last answered (monotonic); a standby's health goes by it."""

    async def acquire(self) -> None:
        while True:
            try:
                if await self._try():
                    LEADER.set(1)
                    log.info("leading as %s", self._identity)
                    return
            except ApiError as error:
                log.warning("the Lease: %s", error)
            await asyncio.sleep(self._times.retry)

    async def hold(self) -> None:
        """Returns when it has not been renewed for the deadline, or is another's."""
        renewed = self._clock()
        while True:
            await asyncio.sleep(min(self._times.renew, self._times.deadline / 2))
            try:
                left = renewed + self._times.deadline - self._clock()
                if await asyncio.wait_for(self._renew(), max(0.1, left)):
                    renewed = self._clock()
                    continue
                if self._holder() not in ("", self._identity):
                    log.error("the Lease is now %s's", self._holder())
                    break
            except (ApiError, TimeoutError) as error:
                log.warning("the Lease was not renewed: %s", error or "time-out")
            if self._clock() - renewed >= self._times.deadline:
                log.error("the Lease could not be renewed for %.0f s", self._times.deadline)
                break
        LEADER.set(0)

    async def release(self) -> None:
        """Hands the Lease on at once; quiet where that fails, since it expires by itself."""
        LEADER.set(0)
        if self._holder() != self._identity:
            return
        spec = {**self._seen["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await asyncio.wait_for(self._api.replace(LEASES, {**self._seen, "spec": spec}), 3.0)
        except (ApiError, TimeoutError) as error:
            log.warning("the Lease was not handed back: %s", error or "time-out")

    async def _renew(self) -> bool:
        """Without reading it first: what was written last is still there, or the write fails."""
        spec = {**self._seen["spec"], "renewTime": self._spec(0)["renewTime"]}
        mine = self._holder() == self._identity
        if mine and await self._write(self._api.replace, {**self._seen, "spec": spec}):
            self.heard = self._clock()
            return True
        return await self._try()

    async def _try(self) -> bool:
        """Whether it is ours now. Raises `ApiError`."""
        found = await self._api.get(LEASES, self._namespace, self._name)
        self.heard = self._clock()
        if found is None:
            meta = {"namespace": self._namespace, "name": self._name}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
            return await self._write(self._api.create, {**body, "spec": self._spec(0)})
        if found["metadata"].get("resourceVersion") != dig(
            self._seen, "metadata", "resourceVersion"
        ):
            self._seen, self._seen_at = found, self._clock()
        holder = self._holder()
        changes = dig(found, "spec", "leaseTransitions") or 0
        if holder == self._identity:
            spec = {**self._spec(changes), "acquireTime": dig(found, "spec", "acquireTime")}
            return await self._write(self._api.replace, {**found, "spec": spec})
        lasts = float(dig(found, "spec", "leaseDurationSeconds") or 0)
        if holder and self._clock() - self._seen_at < lasts:
            return False
        return await self._write(self._api.replace, {**found, "spec": self._spec(changes + 1)})

    async def _write(self, write: Callable[..., Any], obj: Object) -> bool:
        try:
            self._seen = await write(LEASES, obj)
        except ApiError as error:
            if error.status == 409:
                return False  # another was faster
            raise
        self._seen_at = self._clock()
        return True

    def _holder(self) -> str:
        return dig(self._seen, "spec", "holderIdentity") or ""

    def _spec(self, transitions: int) -> Object:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._times.duration),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
