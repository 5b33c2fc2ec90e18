"""What Kopf's watches bring goes to the store, and the pipeline that it is about to the queue.

Only raw events: no annotations, no finalizers, no writes of Kopf's own (the fewer the handlers
know, the less an event can be missed by them). Everything else is the reconcile's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import kopf

from weft_operator import names
from weft_operator.facts import Key
from weft_operator.jsontypes import dig
from weft_operator.settings import Settings
from weft_operator.store import Shelf, Store, key_of

SETTLE: Final = 0.5
"""Seconds for which what happens to pods and clusters is gathered: it comes in bursts."""
OURS: Final = names.PIPELINE_LABEL


class NoDiffs(kopf.DiffBaseStorage):
    """Kopf's bookkeeping of last-seen states, of no use to raw events: a deep copy each."""

    def build(self, *, body: Any, extra_fields: Any = None, **_: Any) -> Any:
        return {}

    def fetch(self, *, body: Any) -> Any:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        return None


def operator_settings(settings: kopf.OperatorSettings) -> None:
    """Kopf's settings, each with its reason."""
    settings.peering.standalone = True  # a Lease decides who leads, not peering
    settings.posting.enabled = False  # Events are written on transitions, by act.py
    settings.persistence.finalizer = f"{names.GROUP}/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(
        prefix=names.GROUP, v1=False
    )
    settings.persistence.diffbase_storage = NoDiffs()
    # A watch that the network has swallowed would be silent for ever; bookmarks come every minute.
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 300
    settings.watching.inactivity_timeout = 90
    settings.watching.chunk_size = 500
    # The server filters: the operator neither sees nor keeps other people's objects.
    settings.watching.label_selectors["ray.io", "v1", "rayclusters"] = OURS
    settings.watching.label_selectors["", "v1", "pods"] = OURS
    settings.watching.label_selectors["", "v1", "configmaps"] = OURS
    settings.queueing.worker_limit = 10_000
    settings.queueing.idle_timeout = 2.0  # a task per object of a burst would stay for 5 s
    settings.networking.request_timeout = 20
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = (0.5, 1, 2, 4)


class Intake:
    """Takes events in, and says whose they are."""

    def __init__(self, store: Store, enqueue: Callable[[Key, float], None]) -> None:
        self._store = store
        self._enqueue = enqueue

    def register(self, registry: kopf.OperatorRegistry, settings: Settings) -> None:
        store = self._store
        self._watch(registry, ("weft.dev", "v1alpha1", "syntheticpipelines"), store.pipelines)
        self._watch(registry, ("weft.dev", "v1alpha1", "agentpools"), store.pools)
        if settings.watch_clusters:
            self._watch(registry, ("ray.io", "v1", "rayclusters"), store.clusters)
        self._watch(registry, ("", "v1", "pods"), store.pods)
        self._watch(registry, ("", "v1", "configmaps"), store.plans)
        if settings.watch_nodes:
            self._watch(registry, ("", "v1", "nodes"), store.nodes)

    def _watch(
        self, registry: kopf.OperatorRegistry, resource: tuple[str, str, str], shelf: Shelf[Any]
    ) -> None:
        # Async, though nothing is awaited: Kopf runs plain functions in threads of their own.
        async def take(event: kopf.RawEvent, **_: Any) -> None:
            self.take(resource[2], shelf, event)

        kopf.on.event(*resource, id=resource[2], registry=registry)(take)

    def take(self, name: str, shelf: Shelf[Any], event: Mapping[str, Any]) -> None:
        """The pipelines that an event is about are reconciled, where it is news."""
        obj = event["object"]
        key = key_of(obj)
        owner = shelf.owner_of(key)
        if event["type"] == "DELETED":
            shelf.remove(key)
        elif not shelf.put(obj):
            return
        if name == "nodes":
            self._enqueue_gpu_pipelines()
        elif name == "syntheticpipelines":
            self._enqueue(key, 0.0)
        elif owner := owner or shelf.owner_of(key):
            self._enqueue((key[0], owner), 0.0 if name == "agentpools" else SETTLE)

    def _enqueue_gpu_pipelines(self) -> None:
        for pipeline in self._store.pipelines:
            if any(dig(pool.open(), "spec", "gpu") for pool in self._store.pools.of(pipeline)):
                self._enqueue(pipeline, SETTLE)
