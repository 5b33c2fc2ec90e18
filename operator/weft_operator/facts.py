"""What the operator has seen of the cluster, cut down to what decisions need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from weft_operator import kuberay, names
from weft_operator.jsontypes import Object, dig
from weft_operator.kuberay import RayCluster

Key = tuple[str, str]
"""Namespace and name of a pipeline."""

# Reasons for which a container does not start until somebody does something.
_BLOCKED: Final = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "CrashLoopBackOff",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
_LINE: Final = 300


def owner_uid(obj: Mapping[str, Any]) -> str:
    """UID of the object's controller; empty without one."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def seconds(timestamp: str | None) -> float:
    """RFC 3339 -> seconds since 1970; 0 for none."""
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


def timestamp(at: float) -> str:
    """Seconds since 1970 -> RFC 3339, whole seconds as Kubernetes writes them."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a pipeline."""

    namespace: str
    name: str
    uid: str
    pipeline: str
    role: str
    pool: str
    group: str
    revision: str
    phase: str
    ready: bool
    deleting: bool
    created: float
    started: float = 0.0
    """When its container began to run, in seconds since 1970; 0 while it does not."""
    address: str = ""
    node: str = ""
    trouble: str = ""
    """Why its container does not run, in one line."""
    unschedulable: str = ""
    """Why it has no node, as the scheduler says."""

    @classmethod
    def from_object(cls, obj: Mapping[str, Any]) -> Pod:
        meta, status = obj["metadata"], obj.get("status") or {}
        labels = meta.get("labels") or {}
        conditions = {c["type"]: c for c in status.get("conditions") or ()}
        scheduled = conditions.get("PodScheduled", {})
        is_unschedulable = scheduled.get("reason") == "Unschedulable"
        return cls(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta.get("uid", ""),
            pipeline=labels.get(names.PIPELINE_LABEL, ""),
            role=labels.get(names.ROLE_LABEL, ""),
            pool=labels.get(names.POOL_LABEL, ""),
            group=labels.get(kuberay.GROUP_LABEL, ""),
            revision=labels.get(names.REVISION_LABEL, ""),
            phase=status.get("phase", ""),
            ready=conditions.get("Ready", {}).get("status") == "True",
            deleting="deletionTimestamp" in meta,
            created=seconds(meta.get("creationTimestamp")),
            started=_started(status),
            address=status.get("podIP", ""),
            node=dig(obj, "spec", "nodeName") or "",
            trouble=_trouble(status),
            unschedulable=scheduled.get("message", "") if is_unschedulable else "",
        )


def _started(status: Mapping[str, Any]) -> float:
    running = (dig(each, "state", "running", "startedAt") for each in _containers(status))
    return min((seconds(at) for at in running if at), default=0.0)


def _containers(status: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return status.get("containerStatuses") or ()


def _trouble(status: Mapping[str, Any]) -> str:
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *_containers(status),
    ]
    for container in statuses:
        waiting = dig(container, "state", "waiting") or {}
        last = dig(container, "lastState", "terminated") or {}
        if waiting.get("reason") == "CrashLoopBackOff" and last:
            return _one_line(f"exited with {last.get('exitCode')}", last.get("message"))
        if waiting.get("reason") in _BLOCKED:
            return _one_line(waiting["reason"], waiting.get("message"))
    if status.get("phase") == "Failed":
        return _one_line(status.get("reason") or "failed", status.get("message"))
    return ""


def _one_line(what: str, message: str | None) -> str:
    """The last line of a message says most: an exception's own line, where it is a log's end."""
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    text = f"{what}: {lines[-1]}" if lines else what
    return text if len(text) <= _LINE else text[: _LINE - 1] + "…"


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as far as placing GPUs goes."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, str], ...]
    gpus: int
    schedulable: bool
    ready: bool

    @classmethod
    def from_object(cls, obj: Mapping[str, Any]) -> Node:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        ready = any(
            c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()
        )
        return cls(
            name=obj["metadata"]["name"],
            labels=obj["metadata"].get("labels") or {},
            taints=tuple(
                {k: str(t[k]) for k in ("key", "value", "effect") if k in t}
                for t in spec.get("taints") or ()
            ),
            gpus=int(dig(status, "allocatable", "nvidia.com/gpu") or 0),
            schedulable=not spec.get("unschedulable"),
            ready=ready,
        )


@dataclass(frozen=True, slots=True)
class PlanSeen:
    """The ConfigMap that the pods' Plan is in."""

    generation: int
    text_digest: str
    owner_uid: str


@dataclass(frozen=True, slots=True)
class Instance:
    """An agent as the head knows it."""

    name: str
    revision: str
    state: str
    inbox: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class HeadStatus:
    """The head's answer to `GET /v1/status`."""

    at: float
    """When it was asked, in seconds since 1970."""
    phase: str
    message: str
    plan_generation: int
    rows: Mapping[str, int]
    tokens: Mapping[str, int]
    pools: Mapping[str, tuple[Instance, ...]]
    output: Mapping[str, Any]
    started: float
    pod_uid: str = ""
    """Of the head pod that answered."""
    reason: str = ""
    """Why the run has ended, in one word; "" while it goes on."""

    @classmethod
    def from_object(cls, obj: Mapping[str, Any], *, at: float, pod_uid: str = "") -> HeadStatus:
        pools = {
            pool["name"]: tuple(
                Instance(
                    name=i["name"],
                    revision=i.get("revision", ""),
                    state=i.get("state", ""),
                    inbox=int(i.get("inbox", 0)),
                    in_flight=int(i.get("inFlight", 0)),
                )
                for i in pool.get("instances", ())
            )
            for pool in obj.get("pools", ())
        }
        return cls(
            at=at,
            phase=obj.get("phase", ""),
            message=obj.get("message") or "",
            plan_generation=int(obj.get("planGeneration", 0)),
            rows=_counts(obj.get("rows")),
            tokens=_counts(obj.get("tokens")),
            pools=pools,
            output=obj.get("output") or {},
            started=float(obj.get("started") or 0.0),
            pod_uid=pod_uid,
            reason=obj.get("reason") or "",
        )


def _counts(obj: Mapping[str, Any] | None) -> dict[str, int]:
    return {key: int(value) for key, value in (obj or {}).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Companions:
    """What a pipeline owns and no watch brings: to watch Secrets is to read everybody's."""

    token_made: float
    """When the token's Secret was made, in seconds since 1970; 0: there is none."""
    network_policy: bool


@dataclass(frozen=True)
class Observed:
    """All that a decision about one pipeline goes by."""

    key: Key
    now: float
    pipeline: Object
    pools: tuple[Object, ...] = ()
    cluster: RayCluster | None = None
    plan: PlanSeen | None = None
    pods: tuple[Pod, ...] = ()
    nodes: tuple[Node, ...] | None = None
    """None: the operator may not read nodes."""
    companions: Companions | None = None
    """None: there is no cluster yet that could lack them."""
    head: HeadStatus | None = None
    head_unasked: bool = False
    """There is a head, and this operator has not had the time to ask it."""
    prompt_maps: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)
    """Data of the ConfigMaps that prompts stand in; None for one that does not exist."""
