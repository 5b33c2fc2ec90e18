"""Holds what the watches have brought against what the API server lists, every few minutes.

Kopf does not tell of objects that were deleted while its watch was away, and a watch can be silent
without an error. The sweep mends the first and shows the second: what has been behind for longer
than a watch may be makes the process unwell, so that it is started anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from weft_operator.api import (
    CLUSTERS,
    CONFIG_MAPS,
    NODES,
    PIPELINES,
    PODS,
    POOLS,
    Api,
    ApiError,
    Kind,
)
from weft_operator.facts import Key
from weft_operator.metrics import OBJECTS, WATCH_AGE
from weft_operator.names import PIPELINE_LABEL
from weft_operator.settings import Settings
from weft_operator.store import Shelf, Store, key_of, version_of

log = logging.getLogger(__name__)

PATIENCE: Final = 15.0
"""Seconds that a watch is given to show what a list has."""
LIMIT: Final = 120.0
"""Seconds behind, after which the process is not well."""


class Sweep:
    """`fault()` is a line for the health endpoint."""

    def __init__(
        self, api: Api, store: Store, settings: Settings, enqueue: Callable[[Key], None]
    ) -> None:
        self._api = api
        self._store = store
        self._settings = settings
        self._enqueue = enqueue
        self._behind_since: dict[str, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pause = 20.0 if self._behind_since else self._settings.resync_seconds
            await asyncio.sleep(pause)
            try:
                await self.once()
            except ApiError as error:
                log.warning("the sweep was not finished: %s", error)

    def fault(self) -> str:
        now = time.monotonic()
        for kind, since in self._behind_since.items():
            if now - since > LIMIT:
                return f"the watch of {kind} has been silent for {now - since:.0f} s"
        return ""

    async def fill(self) -> None:
        """Lists everything, whole. Raises `ApiError`."""
        for kind, shelf, labels in self._kinds():
            for namespace in self._namespaces(kind):
                async for obj in self._api.objects(kind, namespace, labels=labels):
                    shelf.put(obj)

    def _kinds(self) -> list[tuple[Kind, Shelf[Any], str]]:
        store = self._store
        kinds: list[tuple[Kind, Shelf[Any], str]] = [
            (PIPELINES, store.pipelines, ""),
            (POOLS, store.pools, ""),
            (PODS, store.pods, PIPELINE_LABEL),
            (CONFIG_MAPS, store.plans, PIPELINE_LABEL),
        ]
        if self._settings.watch_clusters:
            kinds.append((CLUSTERS, store.clusters, PIPELINE_LABEL))
        if self._settings.watch_nodes:
            kinds.append((NODES, store.nodes, ""))
        return kinds

    def _namespaces(self, kind: Kind) -> tuple[str, ...]:
        return ("",) if kind is NODES else self._settings.namespaces or ("",)

    async def once(self) -> None:
        """Mends what was missed. Raises `ApiError`."""
        for kind, shelf, labels in self._kinds():
            await self._kind(kind, shelf, labels)
        for key in self._store.pipelines:
            self._enqueue(key)

    async def _kind(self, kind: Kind, shelf: Shelf[Any], labels: str) -> None:
        known_before = set(shelf)
        listed = await self._list(kind, labels)
        gone = [key for key in known_before if key not in listed]
        for key in gone:
            owner = shelf.owner_of(key)
            shelf.remove(key)
            self._enqueue((key[0], owner) if owner else key)
        OBJECTS.labels(kind.plural).set(len(shelf))
        if not self._lags(shelf, listed):
            self._clear(kind)
            return
        await asyncio.sleep(PATIENCE)
        if self._lags(shelf, listed):
            since = self._behind_since.setdefault(kind.plural, time.monotonic() - PATIENCE)
            WATCH_AGE.labels(kind.plural).set(time.monotonic() - since)
            log.error("the watch of %s is behind", kind.plural)
        else:
            self._clear(kind)

    def _clear(self, kind: Kind) -> None:
        self._behind_since.pop(kind.plural, None)
        WATCH_AGE.labels(kind.plural).set(0)

    @staticmethod
    def _lags(shelf: Shelf[Any], listed: dict[Key, int]) -> bool:
        return any(shelf.version(key) < version for key, version in listed.items())

    async def _list(self, kind: Kind, labels: str) -> dict[Key, int]:
        found: dict[Key, int] = {}
        for namespace in self._namespaces(kind):
            answer = await self._api.list(kind, namespace, labels=labels)
            found |= {key_of(item): version_of(item) for item in answer.get("items") or ()}
        return found
