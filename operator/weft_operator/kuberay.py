"""The part of KubeRay's RayCluster that is used here, typed.

No maintained Python package publishes these types. Rules held here come from KubeRay 1.6's own
validation: every worker group states minReplicas and maxReplicas; `rayStartParams` is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from weft_operator.jsontypes import Object, dig, digest

API_VERSION: Final = "ray.io/v1"
MAX_REPLICAS: Final = 10_000
OVERWRITE_COMMAND: Final = "ray.io/overwrite-container-cmd"
CLUSTER_LABEL: Final = "ray.io/cluster"
GROUP_LABEL: Final = "ray.io/group"
NODE_TYPE_LABEL: Final = "ray.io/node-type"


@dataclass(frozen=True)
class WorkerGroup:
    """One entry of `workerGroupSpecs`.

    KubeRay never clears `workers_to_delete`. A name may leave it only when its pod is gone: a
    terminating pod counts as a replica, so that KubeRay would delete another one for it.
    """

    name: str
    template: Object
    replicas: int = 0
    workers_to_delete: tuple[str, ...] = ()
    ray_start_params: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the group's pods."""
        labels: Mapping[str, str] = dig(self.template, "metadata", "labels") or {}
        return labels

    def to_object(self) -> Object:
        # Every field that the CRD has a default for is written out: the stored object is then the
        # sent one, and a digest over it tells drift from defaulting.
        return {
            "groupName": self.name,
            "replicas": self.replicas,
            "minReplicas": 0,
            "maxReplicas": MAX_REPLICAS,
            "numOfHosts": 1,
            "rayStartParams": dict(self.ray_start_params),
            "scaleStrategy": {"workersToDelete": list(self.workers_to_delete)},
            "template": self.template,
        }

    @classmethod
    def from_object(cls, obj: Mapping[str, Any]) -> WorkerGroup:
        return cls(
            name=obj.get("groupName", ""),
            template=obj.get("template") or {},
            replicas=obj.get("replicas") or 0,
            workers_to_delete=tuple(dig(obj, "scaleStrategy", "workersToDelete") or ()),
            ray_start_params=obj.get("rayStartParams") or {},
        )


@dataclass(frozen=True)
class ClusterSpec:
    """The spec of a RayCluster as the operator writes it."""

    ray_version: str
    head_template: Object
    groups: tuple[WorkerGroup, ...]
    suspend: bool = False
    head_start_params: Mapping[str, str] = field(default_factory=dict)
    token_secret: str = ""
    """Secret with Ray's own token under the key `auth_token`; KubeRay then makes none."""

    def to_object(self) -> Object:
        return {
            "rayVersion": self.ray_version,
            "suspend": self.suspend,
            "authOptions": {"mode": "token", "secretName": self.token_secret},
            "headGroupSpec": {
                "rayStartParams": dict(self.head_start_params),
                "template": self.head_template,
            },
            "workerGroupSpecs": [group.to_object() for group in self.groups],
        }

    def group(self, name: str) -> WorkerGroup | None:
        return next((group for group in self.groups if group.name == name), None)

    @classmethod
    def from_object(cls, spec: Mapping[str, Any]) -> ClusterSpec:
        return cls(
            ray_version=spec.get("rayVersion", ""),
            head_template=dig(spec, "headGroupSpec", "template") or {},
            groups=tuple(map(WorkerGroup.from_object, spec.get("workerGroupSpecs") or ())),
            suspend=bool(spec.get("suspend")),
            head_start_params=dig(spec, "headGroupSpec", "rayStartParams") or {},
            token_secret=dig(spec, "authOptions", "secretName") or "",
        )


@dataclass(frozen=True)
class RayCluster:
    """A RayCluster that exists."""

    name: str
    uid: str
    generation: int
    owner_uid: str
    annotations: Mapping[str, str]
    deleting: bool
    raw_spec: Mapping[str, Any]
    spec: ClusterSpec

    @cached_property
    def spec_digest(self) -> str:
        return digest(self.raw_spec)

    @classmethod
    def from_object(cls, obj: Mapping[str, Any]) -> RayCluster:
        meta = obj["metadata"]
        owners: Sequence[Mapping[str, Any]] = meta.get("ownerReferences") or ()
        spec = obj.get("spec") or {}
        return cls(
            name=meta["name"],
            uid=meta.get("uid", ""),
            generation=meta.get("generation", 0),
            owner_uid=next((o["uid"] for o in owners if o.get("controller")), ""),
            annotations=meta.get("annotations") or {},
            deleting="deletionTimestamp" in meta,
            raw_spec=spec,
            spec=ClusterSpec.from_object(spec),
        )
