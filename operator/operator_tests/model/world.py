"""The whole model, and what scenarios do with it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from operator_tests.model.cluster import TICK, Dataset, ModelCluster
from operator_tests.model.life import Died, Gate, Life
from operator_tests.model.server import KINDS, ModelServer
from operator_tests.model.virtual_time import VirtualTime
from weft_operator.jsontypes import Object, dig

NAMESPACE: Final = "team"
_PASSING: Final = frozenset(
    {"resourceVersion", "creationTimestamp", "lastTransitionTime", "startedAt", "finishedAt"}
)


class TooLate(AssertionError):
    """What was waited for did not come."""


class World:
    """Use as a context manager within `virtual_time.run`. When the operator dies, another starts
    after `restart` seconds, with the next gate."""

    def __init__(
        self,
        time: VirtualTime,
        gates: Callable[[int], Gate],
        *,
        seed: int = 0,
        lag: float = 0.0,
        restart: float = 2.0,
        patience: float = 1.0,
    ) -> None:
        self.time = time
        self.server = ModelServer(time.time)
        self.cluster = ModelCluster(self.server, time.time, random.Random(seed), lag)
        self.deaths = 0
        self.gates: list[Gate] = []
        self._make_gate = gates
        self._restart = restart
        self._patience = patience
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> World:
        self._tasks = [asyncio.create_task(self._turns()), asyncio.create_task(self._operators())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError, Died):
                await task

    async def _turns(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.cluster.tick()

    async def _operators(self) -> None:
        while True:
            gate = self._make_gate(len(self.gates))
            self.gates.append(gate)
            await Life(self.server, self.cluster, gate, self.time.time).run()
            self.deaths += 1
            await asyncio.sleep(self._restart)

    # what people do

    def apply(self, *objects: Object) -> None:
        """As `kubectl apply`: makes what is not there, and merges into what is."""
        for obj in objects:
            kind, name = _plural(obj), obj["metadata"]["name"]
            path = _path(kind)
            there = self.server.get(kind, NAMESPACE, name)
            if there is None:
                self._ask("POST", path, copy.deepcopy(obj))
            else:
                body = {k: v for k, v in obj.items() if k in ("spec", "data")}
                self._ask("PATCH", f"{path}/{name}", body)

    def replace(self, obj: Object) -> None:
        """The spec, whole."""
        kind, name = _plural(obj), obj["metadata"]["name"]
        there = copy.deepcopy(self.server.objects[kind, NAMESPACE, name])
        self._ask("PUT", f"{_path(kind)}/{name}", {**there, "spec": obj["spec"]})

    def merge(self, kind: str, name: str, change: Object) -> None:
        self._ask("PATCH", f"{_path(kind)}/{name}", change)

    def delete(self, kind: str, name: str) -> None:
        self._ask("DELETE", f"{_path(kind)}/{name}", None)

    def _ask(self, method: str, path: str, body: Any) -> None:
        self.server.ask(method, path, body=body, query={}, content="merge", who="somebody")

    # what there is

    def get(self, kind: str, name: str) -> Object | None:
        return self.server.get(kind, NAMESPACE, name)

    def status(self, name: str = "support") -> Object:
        found = self.get("syntheticpipelines", name) or {}
        status: Object = found.get("status") or {}
        return status

    def pool_status(self, name: str = "drafter") -> Object:
        status: Object = (self.get("agentpools", name) or {}).get("status") or {}
        return status

    def pods(self) -> list[Object]:
        return list(self.server.all("pods"))

    def dataset(self) -> Dataset:
        return next(iter(self.cluster.datasets.values()))

    def condition(self, kind: str, name: str, condition: str) -> Object:
        listed = dig(self.get(kind, name) or {}, "status", "conditions") or []
        return next((c for c in listed if c["type"] == condition), {})

    # what is waited for

    async def until(self, what: str, look: Callable[[], object], seconds: float = 120.0) -> None:
        deadline = self.time.now + seconds * self._patience
        while not look():
            if self.time.now > deadline:
                raise TooLate(
                    f"not within {seconds * self._patience:g} s: {what}; {self.in_short()}"
                )
            await asyncio.sleep(TICK)

    async def rest(self, quiet: float = 12.0, seconds: float = 400.0) -> None:
        """Until nothing has been written for `quiet` seconds. That it comes to rest at all is part
        of what is tested."""
        deadline = self.time.now + seconds * self._patience
        while True:
            before = self.server.version
            await asyncio.sleep(quiet)
            if self.server.version == before:
                return
            if self.time.now > deadline:
                late = [f"{w.who} {w.verb} {'/'.join(w.id)}" for w in self.server.writes[-8:]]
                raise TooLate(f"it never comes to rest: {late}")

    async def serves(self, agents: int, name: str = "support", pool: str = "drafter") -> None:
        await self.until(
            f"{name} runs and {agents} agents of {pool} serve",
            lambda: (
                self.status(name).get("phase") == "Running"
                and self.cluster.serving(pool) == agents
                and self.condition("agentpools", pool, "Ready").get("status") == "True"
            ),
        )
        await self.rest()

    def in_short(self) -> str:
        pods = [f"{p['metadata']['name']} {dig(p, 'status', 'phase')}" for p in self.pods()]
        ready = self.condition("syntheticpipelines", "support", "Ready")
        return f"{self.status().get('phase')}: {ready.get('message')}; pods {pods}"

    # what came of it

    def picture(self) -> Object:
        """All objects as they stand, without what two runs need not share."""
        found = {}
        for id_, obj in sorted(self.server.objects.items()):
            if id_[0] in ("events", "pods"):
                continue
            found["/".join(id_)] = _plain(obj)
            if id_[0] == "rayclusters":
                del found["/".join(id_)]["metadata"]["generation"]  # counted by `effects`
            if id_[0] == "secrets":
                found["/".join(id_)]["data"] = sorted(obj.get("data") or {})
        found["pods"] = sorted(
            [sorted((p["metadata"]["labels"]).items()) for p in self.pods()], key=str
        )
        return found

    def effects(self) -> Counter[str]:
        """How often the operator had which effect that is no report: made, removed, rolled."""
        found = Counter(self.cluster.done)
        for write in self.server.writes:
            kind, _, name = write.id
            if write.who != "operator" or write.subresource == "status" or kind == "events":
                continue
            found[f"{write.verb} {kind}/{name if kind != 'pods' else ''}"] += 1
        return found

    def told(self) -> Counter[str]:
        """Events: about whom, and what."""
        found: Counter[str] = Counter()
        for event in self.server.all("events"):
            about = event["involvedObject"]
            found[f"{about['kind']}/{about['name']} {event['reason']}: {event['message']}"] += 1
        return found


def _plural(obj: Object) -> str:
    return {
        "SyntheticPipeline": "syntheticpipelines",
        "AgentPool": "agentpools",
        "ConfigMap": "configmaps",
    }[obj["kind"]]


def _path(kind: str) -> str:
    return KINDS[kind].path(NAMESPACE)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k not in _PASSING}
    return [_plain(v) for v in value] if isinstance(value, list) else value
