"""One life of the operator: everything that `replica.py` runs but Kopf and the Lease.

What goes out passes a `Gate`, which may lose it, delay it, answer something else, or end the life
before or after it has had its effect. Whoever is dead writes nothing more.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

from operator_tests.model.cluster import ModelCluster, ModelRefusal
from operator_tests.model.server import Change, ModelServer, labels_of
from weft_operator.act import Actor
from weft_operator.api import Api, ApiError
from weft_operator.decide.network import Callers
from weft_operator.decide.pods import Defaults
from weft_operator.facts import Pod
from weft_operator.handlers import OURS, Intake
from weft_operator.head_client import HeadClient, HeadError
from weft_operator.heads import Heads
from weft_operator.jsontypes import Object
from weft_operator.keyed_queue import KeyedQueue
from weft_operator.reconcile import Reconciler
from weft_operator.settings import Settings
from weft_operator.store import Shelf, Store
from weft_operator.sweep import Sweep

WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
DEFAULTS: Final = Defaults(image="agents:1", callers=Callers("weft", {"app": "operator"}))
LABELLED: Final = frozenset({"rayclusters", "pods", "configmaps"})
"""Watched by label, as `handlers.py` says."""
DELIVERY: Final = 0.05
"""Seconds from a change to its watch event."""


class Died(BaseException):
    """The process has ended here. No `except Exception` may stop it."""


class Gate:
    """Passes everything on. `Crash` and `faults.Faulty` do not."""

    def __init__(self) -> None:
        self.dead = False
        self.relist = False
        """The watches are to begin anew: what was deleted meanwhile, they do not tell."""
        self.count = 0
        """Writes that were tried."""
        self.log: list[str] = []
        self.asked: set[tuple[str, str]] = set()
        """Method and path of all that was asked, once each."""

    async def ask(self, method: str, path: str, effect: Callable[[], Object]) -> Object:
        if self.dead:
            raise Died
        await asyncio.sleep(0)
        if self.dead:
            raise Died
        self.asked.add((method, path))
        if method not in WRITES:
            return await self.read(path, effect)
        self.count += 1
        self.log.append(f"{method} {path}")
        return await self.write(method, path, effect)

    async def read(self, path: str, effect: Callable[[], Object]) -> Object:
        return effect()

    async def write(self, method: str, path: str, effect: Callable[[], Object]) -> Object:
        return effect()

    def batch(self, changes: list[Change]) -> list[Change]:
        """What of the watch events comes through now."""
        return changes

    def die(self) -> Died:
        self.dead = True
        return Died()


class Crash(Gate):
    """Dies at the n-th write, counted from 1: before it has its effect, or after."""

    def __init__(self, at: int, *, after: bool) -> None:
        super().__init__()
        self._at = at
        self._after = after

    async def write(self, method: str, path: str, effect: Callable[[], Object]) -> Object:
        if self.count != self._at:
            return effect()
        if self._after:
            effect()
        raise self.die()


class _ModelApi(Api):
    def __init__(self, server: ModelServer, gate: Gate) -> None:
        self._server = server
        self._gate = gate

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> Object:
        def effect() -> Object:
            return self._server.ask(
                method, path, body=body, query=query or {}, content=content, who="operator"
            )

        return await self._gate.ask(method, path, effect)


class _ModelHeadClient(HeadClient):
    def __init__(self, cluster: ModelCluster, gate: Gate) -> None:
        super().__init__()
        self._cluster = cluster
        self._gate = gate

    async def _ask(
        self,
        method: str,
        pod: Pod,
        path: str,
        token: str,
        body: str | None = None,
        timeout: object = None,
    ) -> dict[str, object]:
        def effect() -> Object:
            try:
                return self._cluster.ask_head(method, path, pod.uid, token, body)
            except ModelRefusal as refusal:
                raise HeadError(refusal.status, f"{method} {path}: {refusal}") from None

        return await self._gate.ask(method, f"head:{path}", effect)


class Life:
    """From `run` to the gate's word, or to `end`."""

    def __init__(
        self, server: ModelServer, cluster: ModelCluster, gate: Gate, clock: Callable[[], float]
    ) -> None:
        self.gate = gate
        self._server = server
        self._store = store = Store()
        settings = Settings(DEFAULTS, workers=4)
        api = _ModelApi(server, gate)
        client = _ModelHeadClient(cluster, gate)
        actor = Actor(api, store, settings.identity)
        self._heads = heads = Heads(
            store, client, settings, actor.token_of, lambda key: self._queue.add(key)
        )
        reconciler = Reconciler(api, store, settings, heads, client, clock)
        self._queue = KeyedQueue(reconciler.reconcile, settings.workers)
        self._sweep = Sweep(api, store, settings, self._queue.add)
        self._intake = Intake(store, self._queue.add_after)
        self._shelves: dict[str, Shelf[Any]] = {
            "syntheticpipelines": store.pipelines,
            "agentpools": store.pools,
            "rayclusters": store.clusters,
            "pods": store.pods,
            "configmaps": store.plans,
            "nodes": store.nodes,
        }
        self._seen = len(server.changes)

    async def run(self) -> None:
        """Returns when the process has died, whatever was under way."""
        try:
            self._seen = len(self._server.changes)
            await self._sweep.fill()
            for key in self._store.pipelines:
                self._queue.add(key)
            async with asyncio.TaskGroup() as tasks:
                for part in (self._queue.run, self._heads.run, self._sweep.run, self._watch):
                    tasks.create_task(self._until_dead(part()))
        except* (Died, ApiError):
            pass  # a start without an answer ends as a process, too

    async def _until_dead(self, part: Any) -> None:
        await part
        raise Died

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(DELIVERY)
            if self.gate.dead:
                raise Died
            fresh = self._server.changes[self._seen :]
            self._seen += len(fresh)
            for change in self.gate.batch(fresh):
                self.deliver(change)
            if self.gate.relist:
                self.gate.relist = False
                for id_, obj in list(self._server.objects.items()):
                    self.deliver(Change(0, id_[0], "", copy.deepcopy(obj), labels_of(obj)))

    def deliver(self, change: Change) -> None:
        """As a watch with a label selector would: an object that loses the label is gone."""
        shelf = self._shelves.get(change.kind)
        if shelf is None:
            return
        type_ = change.type
        if change.kind in LABELLED:
            here, before = OURS in labels_of(change.obj), OURS in change.labels_before
            if not here and not before:
                return
            if not here:
                type_ = "DELETED"
        self._intake.take(change.kind, shelf, {"type": type_, "object": change.obj})
