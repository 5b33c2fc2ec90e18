"""Carries a decision out: few writes, each guarded, and none where nothing is to change."""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
import time
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from weft_operator import names
from weft_operator.api import (
    CLUSTERS,
    CONFIG_MAPS,
    EVENTS,
    NETWORK_POLICIES,
    PIPELINES,
    PODS,
    POOLS,
    SECRETS,
    Api,
    ApiError,
    Kind,
)
from weft_operator.decide.decision import Decision, Replacement
from weft_operator.decide.statuses import Announcement
from weft_operator.facts import Companions, Key, owner_uid, seconds, timestamp
from weft_operator.jsontypes import Object, dig, digest, merge_patch
from weft_operator.kuberay import OVERWRITE_COMMAND, RayCluster
from weft_operator.metrics import CREATE_SECONDS
from weft_operator.store import Shelf, Store

T = TypeVar("T")
log = logging.getLogger(__name__)


class NameTaken(Exception):
    """An object of the needed name belongs to somebody else. `str()` says which, and what to do."""


class Actor:
    """Writes; what the API server answers goes straight to the store, so that the next decision
    does not wait for the watch to bring it."""

    def __init__(self, api: Api, store: Store, identity: str) -> None:
        self._api = api
        self._store = store
        self._identity = identity

    async def carry_out(self, decision: Decision, pipeline: Mapping[str, Any]) -> Companions | None:
        """What has been made to go with the pods, as far as all of it is known: None otherwise.
        Raises `ApiError` (409: seen things have changed, look again) and `NameTaken`."""
        making: list[Coroutine[Any, Any, float | None]] = []
        if decision.token is not None:
            making.append(self._make_token(decision.token))
        if decision.plan_map is not None:
            making.append(self._put_plan_map(decision.plan_map))
        if decision.network_policy is not None:
            making.append(self._make_network_policy(decision.network_policy))
        if decision.create is not None:
            # With the others, not after them: the kubelet waits for what a pod refers to.
            making.append(self._create_cluster(decision.create, pipeline))
        made = await _all(making) if making else []
        if decision.replace is not None:
            await self._replace_cluster(decision.replace, pipeline["metadata"]["namespace"])
        if decision.remove is not None:
            namespace = pipeline["metadata"]["namespace"]
            gone = decision.remove
            await self._api.delete(CLUSTERS, namespace, gone.name, gone.uid)
        for pod in decision.delete_pods:
            await self._api.delete(PODS, pod.namespace, pod.name, pod.uid)
        at = made[0] if decision.token is not None else None
        return Companions(at, network_policy=True) if at and decision.create is not None else None

    async def report(
        self, decision: Decision, pipeline: Mapping[str, Any], pools: Mapping[str, Object]
    ) -> None:
        # Events first: once the status says it, nobody would know that it is still to be told.
        if decision.events:
            await _all([self.announce(event) for event in decision.events])
        writes = []
        if decision.status is not None:
            writes.append(self.put_status(PIPELINES, pipeline, decision.status))
        for name, status in decision.pool_statuses.items():
            writes.append(self.put_status(POOLS, pools[name], status))
        if writes:
            await _all(writes)

    async def put_status(self, kind: Kind, obj: Mapping[str, Any], status: Object) -> None:
        patch = merge_patch(obj.get("status") or {}, status)
        if not patch:
            return
        meta = obj["metadata"]
        # The uid keeps it from a new object of the same name.
        body = {"metadata": {"uid": meta["uid"]}, "status": patch}
        try:
            found = await self._api.patch(
                kind, meta["namespace"], meta["name"], body, subresource="status"
            )
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            return  # it is gone, or another
        shelf = self._store.pipelines if kind is PIPELINES else self._store.pools
        shelf.put(found)

    async def announce(self, event: Announcement) -> None:
        """An Event; that one could not be written is logged, and stops nothing.

        Its name follows from what has turned, so that it is told once even when the operator dies
        before the status says so.
        """
        meta, now = event.about["metadata"], time.time()
        before = (event.about.get("status") or {}).get("conditions")
        turned = digest([meta["uid"], event.reason, event.message, before])
        obj = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{meta['name']}.{turned}",
                "namespace": meta["namespace"],
            },
            "involvedObject": {
                "apiVersion": event.about["apiVersion"],
                "kind": event.about["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
                "resourceVersion": meta.get("resourceVersion", ""),
            },
            "type": event.kind,
            "reason": event.reason,
            "message": event.message[:1000] or event.reason,
            "firstTimestamp": timestamp(now),
            "lastTimestamp": timestamp(now),
            "count": 1,
            "source": {"component": names.MANAGER},
            "reportingComponent": names.MANAGER,
            "reportingInstance": self._identity,
        }
        try:
            await self._api.create(EVENTS, obj)
        except ApiError as error:
            if error.status != 409 and not error.namespace_leaves:
                log.warning("an Event was not written: %s", error)

    async def token_of(self, pipeline: Key) -> str | None:
        """The bearer token of the pipeline's control API; None where there is no Secret."""
        secret = await self._api.get(SECRETS, pipeline[0], names.token_secret(pipeline[1]))
        data = dig(secret or {}, "data", names.TOKEN_KEY)
        return base64.b64decode(data).decode() if data else None

    async def _make_token(self, obj: Object) -> float | None:
        """When, in seconds since 1970; None where one was there."""
        data = {names.TOKEN_KEY: secrets.token_urlsafe(32)}
        data[names.RAY_TOKEN_KEY] = secrets.token_hex(32)
        whole = {**obj, "immutable": True, "type": "Opaque", "stringData": data}
        try:
            made = await self._api.create(SECRETS, whole)
            return seconds(made["metadata"].get("creationTimestamp"))
        except ApiError as error:
            if error.status != 409:
                raise
            # That of a former start is as good: pods may run with it.
            await self._is_ours(SECRETS, obj)
            return None

    async def _make_network_policy(self, obj: Object) -> None:
        try:
            await self._api.create(NETWORK_POLICIES, obj)
        except ApiError as error:
            if error.status != 409:  # one that is there may have been made stricter by somebody
                raise

    async def _put_plan_map(self, obj: Object) -> None:
        meta = obj["metadata"]
        key = (meta["namespace"], meta["name"])
        known = self._store.plans.version(key)
        try:
            if known:
                guarded = {**obj, "metadata": {**meta, "resourceVersion": str(known)}}
                found = await self._api.replace(CONFIG_MAPS, guarded)
            else:
                found = await self._api.create(CONFIG_MAPS, obj)
        except ApiError as error:
            if error.status == 409 and not known:
                await self._is_ours(CONFIG_MAPS, obj, self._store.plans)
            raise
        self._store.plans.put(found)

    async def _create_cluster(self, obj: Object, pipeline: Mapping[str, Any]) -> None:
        try:
            found = await self._api.create(CLUSTERS, obj)
        except ApiError as error:
            if error.status == 409:
                await self._is_ours(CLUSTERS, obj, self._store.clusters)
            raise
        CREATE_SECONDS.observe(
            max(0.0, time.time() - seconds(pipeline["metadata"].get("creationTimestamp")))
        )
        self._store.clusters.put(await self._with_digest(found))

    async def _replace_cluster(self, replacement: Replacement, namespace: str) -> None:
        seen, spec = replacement.seen, replacement.spec.to_object()
        annotations = {OVERWRITE_COMMAND: "true", names.SPEC_DIGEST: digest(spec)}
        at = "/metadata/annotations"
        # Others' annotations stay; `add` to a mapping that is not there would be refused.
        noted = [
            {"op": "add", "path": f"{at}/{key.replace('/', '~1')}", "value": value}
            for key, value in annotations.items()
        ]
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": seen.uid},
            # The generation moves with the spec alone, so KubeRay's status writes do not get in
            # the way, and nobody's change to the spec is overwritten unseen.
            {"op": "test", "path": "/metadata/generation", "value": seen.generation},
            *(noted if seen.annotations else [{"op": "add", "path": at, "value": annotations}]),
            {"op": "replace", "path": "/spec", "value": spec},
        ]
        try:
            found = await self._api.patch(CLUSTERS, namespace, seen.name, patch)
        except ApiError as error:
            if error.status == 422:
                await self._has_changed(seen, namespace)
            raise
        self._store.clusters.put(await self._with_digest(found))

    async def _has_changed(self, seen: RayCluster, namespace: str) -> None:
        """A failed test of a JSON patch is answered with 422, as an invalid object is. Raises
        `ApiError` 409 where the cluster is another than was seen."""
        there = await self._api.get(CLUSTERS, namespace, seen.name)
        meta = {} if there is None else there["metadata"]
        if (meta.get("uid"), meta.get("generation")) != (seen.uid, seen.generation):
            if there is not None and dig(there, "metadata", "labels", names.PIPELINE_LABEL):
                self._store.clusters.put(there)
            raise ApiError(409, f"changing {seen.name}", "it has changed meanwhile")

    async def _with_digest(self, found: Object) -> Object:
        """Where the API server stored something else than was sent (it drops fields that its schema
        does not know, and fills defaults in), the digest must be that of what it stored."""
        stored = digest(found.get("spec") or {})
        meta = found["metadata"]
        if (meta.get("annotations") or {}).get(names.SPEC_DIGEST) == stored:
            return found
        body = {"metadata": {"uid": meta["uid"], "annotations": {names.SPEC_DIGEST: stored}}}
        return await self._api.patch(CLUSTERS, meta["namespace"], meta["name"], body)

    async def _is_ours(self, kind: Kind, obj: Object, shelf: Shelf[Any] | None = None) -> None:
        """An object of that name is there, though unseen. Raises `NameTaken` if it is not ours."""
        meta = obj["metadata"]
        there = await self._api.get(kind, meta["namespace"], meta["name"])
        if there is None:
            raise ApiError(409, f"creating {meta['name']}", "it was there, and is gone; again")
        if owner_uid(there) == meta["ownerReferences"][0]["uid"]:
            if shelf is not None and dig(there, "metadata", "labels", names.PIPELINE_LABEL):
                shelf.put(there)
            return
        if dig(there, "metadata", "labels", names.MANAGED_BY_LABEL) == names.MANAGER:
            # Of a former pipeline of this name; it goes by itself.
            raise ApiError(409, f"creating {meta['name']}", "a former one is still leaving")
        raise NameTaken(
            f"{obj['kind']} {meta['namespace']}/{meta['name']} exists and belongs to "
            f"{_owner(there)}; delete it, or give the pipeline another name"
        )


def _owner(obj: Mapping[str, Any]) -> str:
    owners = obj["metadata"].get("ownerReferences") or ()
    return ", ".join(f"{o['kind']} {o['name']}" for o in owners) or "nobody that says so"


async def _all(writes: Sequence[Awaitable[T]]) -> list[T]:
    """At once; the first failure is raised when all have ended."""
    results = await asyncio.gather(*writes, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
