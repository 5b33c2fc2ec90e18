"""The operator's view of the cluster, in memory: what the watches have brought.

Reconciling reads it, so that a burst of events costs no API reads. Objects are kept packed (JSON,
deflated): as Python dictionaries, a thousand RayClusters would take 100 MiB.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from weft_operator import names
from weft_operator.facts import Key, Node, PlanSeen, Pod, owner_uid
from weft_operator.jsontypes import Object, dig

T = TypeVar("T")


class Packed:
    """An object that is kept small, and opened when it is needed. Equal: the same content."""

    __slots__ = ("_data",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, obj: Mapping[str, Any]) -> None:
        meta = {
            k: v for k, v in obj["metadata"].items() if k not in ("managedFields", "annotations")
        }
        ours = {
            k: v
            for k, v in (obj["metadata"].get("annotations") or {}).items()
            if k.startswith(("weft.dev/", "ray.io/"))
        }
        if ours:
            meta["annotations"] = ours
        self._data = zlib.compress(msgspec.json.encode({**obj, "metadata": meta}), 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packed) and self._data == other._data

    def open(self) -> Object:
        obj: Object = msgspec.json.decode(zlib.decompress(self._data))
        return obj


class Shelf(Generic[T]):
    """Objects of one kind by namespace and name, found by the pipeline that they belong to."""

    def __init__(
        self,
        parse: Callable[[Mapping[str, Any]], T],
        pipeline_of: Callable[[Mapping[str, Any]], str] = lambda _: "",
    ) -> None:
        self._parse = parse
        self._pipeline_of = pipeline_of
        self._items: dict[Key, tuple[int, str, T]] = {}
        self._of_pipeline: dict[Key, set[Key]] = defaultdict(set)

    def put(self, obj: Mapping[str, Any]) -> bool:
        """Whether it is news. It is none when it is known already (an echo of one's own write, or
        older than that), nor when nothing has changed of what is kept of it."""
        key, version = key_of(obj), version_of(obj)
        known = self._items.get(key)
        if known is not None and version and version <= known[0]:
            return False
        owner, item = self._pipeline_of(obj), self._parse(obj)
        if known is not None and known[1] != owner:
            self._forget(key, known[1])
        self._items[key] = (version, owner, item)
        if owner:
            self._of_pipeline[key[0], owner].add(key)
        return known is None or known[1:] != (owner, item)

    def remove(self, key: Key) -> None:
        known = self._items.pop(key, None)
        if known is not None:
            self._forget(key, known[1])

    def _forget(self, key: Key, owner: str) -> None:
        if keys := self._of_pipeline.get((key[0], owner)):
            keys.discard(key)
            if not keys:
                del self._of_pipeline[key[0], owner]

    def get(self, key: Key) -> T | None:
        known = self._items.get(key)
        return None if known is None else known[2]

    def version(self, key: Key) -> int:
        known = self._items.get(key)
        return 0 if known is None else known[0]

    def of(self, pipeline: Key) -> list[T]:
        """In the order of their names."""
        return [self._items[key][2] for key in sorted(self._of_pipeline.get(pipeline, ()))]

    def owner_of(self, key: Key) -> str:
        """The pipeline's name; empty when the object is not known."""
        known = self._items.get(key)
        return "" if known is None else known[1]

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._items))

    def __len__(self) -> int:
        return len(self._items)

    def values(self) -> list[T]:
        return [item[2] for item in self._items.values()]


def key_of(obj: Mapping[str, Any]) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def version_of(obj: Mapping[str, Any]) -> int:
    """Comparable as a number since Kubernetes 1.35 by promise, and with etcd ever since."""
    version = obj["metadata"].get("resourceVersion", "")
    return int(version) if version.isdigit() else 0


def labelled(obj: Mapping[str, Any]) -> str:
    return dig(obj, "metadata", "labels", names.PIPELINE_LABEL) or ""


def referenced(obj: Mapping[str, Any]) -> str:
    return dig(obj, "spec", "pipelineRef", "name") or ""


def cluster_seen(obj: Mapping[str, Any]) -> Packed:
    """Without KubeRay's status, which it writes a dozen times while a cluster starts: nothing is
    decided by it, so that its changes are no news."""
    meta = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    return Packed({**{k: v for k, v in obj.items() if k != "status"}, "metadata": meta})


def plan_seen(obj: Mapping[str, Any]) -> PlanSeen:
    text = dig(obj, "data", names.PLAN_FILE) or ""
    generation = dig(obj, "metadata", "annotations", names.PLAN_GENERATION) or "0"
    return PlanSeen(
        generation=int(generation) if generation.isdigit() else 0,
        text_digest=text_digest(text),
        owner_uid=owner_uid(obj),
    )


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """One shelf for each kind that is watched."""

    def __init__(self) -> None:
        self.pipelines = Shelf(Packed)
        self.pools = Shelf(Packed, referenced)
        self.clusters = Shelf(cluster_seen, labelled)
        self.plans = Shelf(plan_seen, labelled)
        self.pods = Shelf(Pod.from_object, labelled)
        self.nodes = Shelf(Node.from_object)

    def plan_of(self, pipeline: Key) -> PlanSeen | None:
        """Other ConfigMaps may bear the pipeline's label: people label what is theirs."""
        key = (pipeline[0], names.plan_map(pipeline[1]))
        return self.plans.get(key) if self.plans.owner_of(key) == pipeline[1] else None
