"""What is reported: the two kinds' status, and Events when something turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from weft_operator import names
from weft_operator.decide.conditions import State, condition, conditions
from weft_operator.decide.pools import PoolView
from weft_operator.facts import HeadStatus, Observed, timestamp
from weft_operator.jsontypes import Object

COUNTER_SECONDS: Final = 5.0
"""Least time between two writes of a status of which only counters have moved."""
_COUNTERS: Final = ("rows", "tokens", "output")


@dataclass(frozen=True)
class Announcement:
    """An Event about one object."""

    about: Mapping[str, Any]
    """The object: apiVersion, kind, metadata."""
    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


def pipeline_status(
    seen: Observed,
    phase: str,
    state: State,
    *,
    pools: str = "",
    plan_generation: int = 0,
    ray_cluster: str = "",
    head: HeadStatus | None = None,
    draining_head: str | None = None,
    finished: bool = False,
) -> Object:
    """The whole status; what is not known anew stays as it was."""
    before: Mapping[str, Any] = seen.pipeline.get("status") or {}
    generation = seen.pipeline["metadata"].get("generation", 0)
    status: Object = {key: before[key] for key in _COUNTERS if key in before}
    if head is not None:
        if head.rows:
            status["rows"] = dict(head.rows)
        if head.tokens:
            status["tokens"] = dict(head.tokens)
        if head.output:
            status["output"] = {k: v for k, v in head.output.items() if v is not None}
    status |= {
        "phase": phase,
        "message": state.message.split("\n", 1)[0],
        "observedGeneration": generation,
        "conditions": conditions(
            state, before.get("conditions") or (), generation=generation, now=seen.now
        ),
    }
    if pools:
        status["pools"] = pools
    if ray_cluster:
        status["rayCluster"] = ray_cluster
    if known := max(plan_generation, before.get("planGeneration") or 0):
        status["planGeneration"] = known
    if draining := before.get("drainingHead") if draining_head is None else draining_head:
        status["drainingHead"] = draining
    started = before.get("startedAt") or (
        timestamp(head.started) if head is not None and head.started else None
    )
    if started:
        status["startedAt"] = started
    if finished:
        status["finishedAt"] = before.get("finishedAt") or timestamp(seen.now)
    return status


def pool_status(
    obj: Mapping[str, Any], state: State, *, now: float, view: PoolView | None, pipeline: str
) -> Object:
    before: Mapping[str, Any] = obj.get("status") or {}
    generation = obj["metadata"].get("generation", 0)
    status: Object = {
        "observedGeneration": generation,
        "selector": names.pod_selector(pipeline, obj["metadata"]["name"]),
        "conditions": conditions(
            state, before.get("conditions") or (), generation=generation, now=now
        ),
        # Printed as numbers, so that they are there from the start.
        "replicas": 0,
        "readyReplicas": 0,
        "updatedReplicas": 0,
    }
    if view is not None:
        status |= {
            "replicas": sum(not pod.deleting for pod in view.pods),
            "desiredReplicas": view.replicas,
            "readyReplicas": view.serving,
            "updatedReplicas": view.updated,
            "currentRevision": view.step.current_revision,
            "updateRevision": view.revision,
        }
    return status


def only_counters_moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two statuses differ, and in nothing but counters."""
    return before != after and _without_counters(before) == _without_counters(after)


def _without_counters(status: Mapping[str, Any]) -> Object:
    return {key: value for key, value in status.items() if key not in _COUNTERS}


def announcements(obj: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[Announcement]:
    """Events for what has turned: the phase, and being stalled or not. Never for the same again."""
    before: Mapping[str, Any] = obj.get("status") or {}
    found: list[Announcement] = []
    was, now = condition(before, "Stalled"), condition(after, "Stalled")
    if now.get("status") == "True" and (
        was.get("status") != "True" or was.get("reason") != now.get("reason")
    ):
        found.append(Announcement(obj, "Warning", now["reason"], now.get("message", "")))
    phase = after.get("phase")
    if phase is not None and phase != before.get("phase") and phase != "Stalled":
        kind: Literal["Normal", "Warning"] = "Warning" if phase == "Failed" else "Normal"
        found.append(Announcement(obj, kind, phase, after.get("message") or phase))
    if phase is None:
        was_ready = condition(before, "Ready").get("status")
        ready = condition(after, "Ready")
        if ready.get("status") == "True" and was_ready != "True":
            found.append(Announcement(obj, "Normal", ready["reason"], ready.get("message", "")))
        old, new = before.get("updateRevision"), after.get("updateRevision")
        if old and new and old != new:
            text = f"revision {new} replaces {old}, pod by pod"
            found.append(Announcement(obj, "Normal", "RolloutStarted", text))
    return found
