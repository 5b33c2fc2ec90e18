"""The API server's part that an operator can tell: versions, guards, admission and watches.

Optimistic concurrency, generations, status subresources, JSON patches with tests, merge patches,
preconditions, graceful deletion of pods, pruning, immutable Secrets, label-selected watches. A
write that changes nothing moves no version, as with the real one.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jsonpatch
import msgspec

from weft_operator.api import (
    CLUSTERS,
    CONFIG_MAPS,
    EVENTS,
    JSON_PATCH,
    NETWORK_POLICIES,
    NODES,
    PIPELINES,
    PODS,
    POOLS,
    SECRETS,
    ApiError,
)
from weft_operator.facts import timestamp
from weft_operator.jsontypes import Object

Id = tuple[str, str, str]
"""Plural, namespace, name."""

KINDS: Final = {
    kind.plural: kind
    for kind in (
        PIPELINES,
        POOLS,
        CLUSTERS,
        PODS,
        NODES,
        CONFIG_MAPS,
        SECRETS,
        NETWORK_POLICIES,
        EVENTS,
    )
}
_WITH_STATUS: Final = frozenset({"syntheticpipelines", "agentpools", "rayclusters", "pods"})
UNKNOWN_FIELDS: Final = frozenset({"priorityClasName"})
"""Of RayCluster's schema: what the scenarios misspell is dropped, as the real one drops it."""
LONGEST_HISTORY: Final = 5_000
"""Watch events that are kept; who asks for older ones is told 410."""


@dataclass(frozen=True)
class Change:
    """A watch event: the object as it is after it, and its labels before."""

    version: int
    kind: str
    type: str
    obj: Object
    labels_before: Mapping[str, str]


@dataclass(frozen=True)
class Write:
    """A write that had an effect."""

    who: str
    verb: str
    id: Id
    subresource: str
    uid: str


class ModelServer:
    """`ask` is what a request over HTTP would be. Everything else is for tests."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.objects: dict[Id, Object] = {}
        self.changes: list[Change] = []
        self.writes: list[Write] = []
        self.version = 0
        self._made: dict[Id, int] = {}
        self.terminating: set[str] = set()
        """Namespaces in which nothing can be made any more."""

    # for tests, and for those who work on the cluster

    def all(self, kind: str) -> Iterator[Object]:
        """Whole objects, not to be changed, in the order of their names."""
        for each in sorted(id_ for id_ in self.objects if id_[0] == kind):
            yield self.objects[each]

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((kind, namespace, name))

    # requests

    def ask(
        self, method: str, path: str, *, body: Any, query: Mapping[str, str], content: str, who: str
    ) -> Object:
        """Raises `ApiError`."""
        what = f"{method} {path}"
        parts = path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if len(parts) > 1 and parts[0] == "namespaces":
            namespace, parts = parts[1], parts[2:]
        kind, name, subresource = (*parts, "", "", "")[:3]
        if not kind:
            served = [{"name": plural} for plural in KINDS]
            return {"resources": served}
        body = msgspec.json.decode(msgspec.json.encode(body))
        id_ = (kind, namespace, name)
        match method:
            case "GET" if not name:
                return self._list(kind, namespace, query)
            case "GET":
                return copied(self._existing(id_, what))
            case "POST":
                return self._create(kind, namespace, body, what, who)
            case "PUT":
                return self._put(id_, body, subresource, what, who)
            case "PATCH":
                return self._patch(id_, body, subresource, content, what, who)
            case "DELETE":
                return self._delete(id_, body or {}, what, who)
        raise ApiError(405, what, "no such method")

    def _list(self, kind: str, namespace: str, query: Mapping[str, str]) -> Object:
        wanted = query.get("labelSelector", "")
        items = [
            copied(obj)
            for obj in self.all(kind)
            if namespace in ("", obj["metadata"].get("namespace", ""))
            and (not wanted or wanted in labels_of(obj))
        ]
        return {"items": items, "metadata": {"resourceVersion": str(self.version)}}

    def _existing(self, id_: Id, what: str) -> Object:
        if id_ not in self.objects:
            raise ApiError(404, what, f'{id_[0]} "{id_[2]}" not found')
        return self.objects[id_]

    def _create(self, kind: str, namespace: str, obj: Object, what: str, who: str) -> Object:
        meta = obj["metadata"]
        id_ = (kind, namespace, meta["name"])
        if id_ in self.objects:
            raise ApiError(409, what, f'{kind} "{meta["name"]}" already exists')
        if namespace in self.terminating:
            text = f"unable to create new content in namespace {namespace} because it is being "
            raise ApiError(403, what, f'{kind} "{meta["name"]}" is forbidden: {text}terminated')
        self._made[id_] = self._made.get(id_, 0) + 1
        uid = f"uid-{kind}-{meta['name']}-{self._made[id_]}"
        obj["metadata"] = meta | {"uid": uid, "creationTimestamp": timestamp(self._clock())}
        if kind in _WITH_STATUS:
            obj.pop("status", None)
        if kind not in ("secrets", "configmaps", "events"):
            obj["metadata"]["generation"] = 1
        for key, text in obj.pop("stringData", {}).items():
            obj.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()
        return self._store(id_, obj, "ADDED", "create", "", who)

    def _put(self, id_: Id, obj: Object, subresource: str, what: str, who: str) -> Object:
        old = self._existing(id_, what)
        guard = obj["metadata"].get("resourceVersion")
        if guard and guard != old["metadata"]["resourceVersion"]:
            raise ApiError(409, what, "the object has been modified")
        return self._update(id_, obj, subresource, "update", what, who)

    def _patch(
        self, id_: Id, body: Any, subresource: str, content: str, what: str, who: str
    ) -> Object:
        old = self._existing(id_, what)
        if content == JSON_PATCH:
            try:
                new = jsonpatch.apply_patch(old, body)
            except jsonpatch.JsonPatchTestFailed as error:
                text = f"the server rejected our request due to an error in our request: {error}"
                raise ApiError(422, what, text) from None
        else:
            new = merged(old, body)
        for guard in ("uid", "resourceVersion"):
            if new["metadata"].get(guard) != old["metadata"][guard]:
                text = f"Precondition failed: {guard} in precondition: {new['metadata'].get(guard)}"
                raise ApiError(409, what, text)
        return self._update(id_, new, subresource, "patch", what, who)

    def _update(
        self, id_: Id, new: Object, subresource: str, verb: str, what: str, who: str
    ) -> Object:
        old = self.objects[id_]
        kept = ("uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp")
        meta = dict(new["metadata"])
        for key in kept:
            meta.pop(key, None)
            if key in old["metadata"]:
                meta[key] = old["metadata"][key]
        if subresource == "status":
            new = {**old, "status": new.get("status") or {}}
        elif subresource:
            raise ApiError(404, what, "no such subresource")
        else:
            new = {**new, "metadata": meta}
            if id_[0] in _WITH_STATUS:
                new.pop("status", None)
                if "status" in old:
                    new["status"] = old["status"]
            if old.get("immutable") and new.get("data") != old.get("data"):
                raise ApiError(422, what, "data: Forbidden: field is immutable when `immutable`")
            if "generation" in meta and _pruned(id_[0], new).get("spec") != old.get("spec"):
                new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        return self._store(id_, new, "MODIFIED", verb, subresource, who)

    def _delete(self, id_: Id, options: Object, what: str, who: str) -> Object:
        old = self._existing(id_, what)
        uid = (options.get("preconditions") or {}).get("uid")
        if uid and uid != old["metadata"]["uid"]:
            raise ApiError(409, what, f"Precondition failed: UID in precondition: {uid}")
        if id_[0] == "pods" and not options.get("now"):
            if "deletionTimestamp" in old["metadata"]:
                return copied(old)
            meta = {**old["metadata"], "deletionTimestamp": timestamp(self._clock())}
            return self._store(id_, {**old, "metadata": meta}, "MODIFIED", "delete", "", who)
        del self.objects[id_]
        self.version += 1
        gone = copied(old)
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._note(Change(self.version, id_[0], "DELETED", gone, labels_of(old)))
        self.writes.append(Write(who, "delete", id_, "", old["metadata"]["uid"]))
        return {"kind": "Status", "status": "Success"}

    def _store(
        self, id_: Id, new: Object, change: str, verb: str, subresource: str, who: str
    ) -> Object:
        old = self.objects.get(id_)
        new = _pruned(id_[0], copied(new))
        if old is not None and new == old:
            return copied(old)
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self.objects[id_] = new
        before = labels_of(old) if old is not None else {}
        self._note(Change(self.version, id_[0], change, copied(new), before))
        self.writes.append(Write(who, verb, id_, subresource, new["metadata"]["uid"]))
        return copied(new)

    def _note(self, change: Change) -> None:
        self.changes.append(change)


def copied(obj: Object) -> Object:
    """As it is when it has travelled as JSON."""
    found: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return found


def labels_of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return found


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return patch
    new = dict(old) if isinstance(old, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merged(new.get(key), value)
    return new


def _pruned(kind: str, value: Any) -> Any:
    if kind != "rayclusters":
        return value
    if isinstance(value, dict):
        return {k: _pruned(kind, v) for k, v in value.items() if k not in UNKNOWN_FIELDS}
    return [_pruned(kind, v) for v in value] if isinstance(value, list) else value
