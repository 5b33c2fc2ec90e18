"""How each pool stands: its slots, its next step, and its state in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weft_api.pool import AgentPool
from weft_operator import names
from weft_operator.decide import gpu
from weft_operator.decide.conditions import State
from weft_operator.decide.raycluster import slot_revision
from weft_operator.decide.slots import Slot, SlotPod, Step, next_step
from weft_operator.facts import HeadStatus, Instance, Node, Pod
from weft_operator.kuberay import RayCluster


@dataclass(frozen=True)
class PoolView:
    """A pool and all that is known about it."""

    pool: AgentPool
    replicas: int
    """Wanted now, autoscaling counted in."""
    revision: str
    slots: tuple[Slot, ...]
    step: Step
    pods: tuple[Pod, ...]
    gpus: gpu.GpuCheck

    @property
    def name(self) -> str:
        return self.pool.metadata.name

    @property
    def serving(self) -> int:
        return sum(slot.serving for slot in self.slots)

    @property
    def updated(self) -> int:
        return sum(slot.serving for slot in self.slots if slot.revision == self.revision)

    @property
    def complete(self) -> bool:
        return self.serving >= self.replicas


def view(
    pool: AgentPool,
    *,
    revision: str,
    replicas: int,
    cluster: RayCluster | None,
    pods: Sequence[Pod],
    head: HeadStatus | None,
    nodes: Sequence[Node] | None,
    now: float,
    asleep: bool,
) -> PoolView:
    name = pool.metadata.name
    known = None if head is None else {i.name: i for i in head.pools.get(name, ())}
    own = tuple(pod for pod in pods if pod.pool == name)
    slots = tuple(
        _slot(slot, names.group_name(name, slot), cluster, own, known, now) for slot in names.SLOTS
    )
    step = next_step(
        slots,
        revision=revision,
        replicas=replicas,
        judged=head is not None,
        asleep=asleep,
    )
    return PoolView(pool, replicas, revision, slots, step, own, gpu.check(pool, nodes))


def _slot(
    slot: str,
    group_name: str,
    cluster: RayCluster | None,
    pods: Sequence[Pod],
    known: dict[str, Instance] | None,
    now: float,
) -> Slot:
    group = cluster.spec.group(group_name) if cluster is not None else None
    own = [_slot_pod(pod, known, now) for pod in pods if pod.group == group_name]
    return Slot(
        name=slot,
        revision=slot_revision(group),
        replicas=group.replicas if group is not None else 0,
        leaving=group.workers_to_delete if group is not None else (),
        pods=tuple(own),
    )


def _slot_pod(pod: Pod, known: dict[str, Instance] | None, now: float) -> SlotPod:
    instance = known.get(pod.name) if known is not None else None
    # Without the head's word a ready pod is counted, but next_step takes nothing away then.
    says = known is None or (instance is not None and instance.state == "serving")
    return SlotPod(
        name=pod.name,
        serving=pod.ready and not pod.deleting and says,
        deleting=pod.deleting,
        load=instance.inbox + instance.in_flight if instance is not None else 0,
        age=now - pod.created,
    )


def state(view: PoolView) -> State:
    """In words, while the pipeline runs."""
    extra = _gpu_condition(view)
    trouble = next((p for p in view.pods if p.trouble and not p.deleting), None)
    waiting = next((p for p in view.pods if p.unschedulable and not p.deleting), None)
    if view.gpus.verdict == "Unmatched" and not view.complete:
        return State("NoMatchingNode", view.gpus.message, stalled=True, extra=extra)
    if trouble is not None and not trouble.ready:
        return State(
            "PodFailing",
            f"pod {trouble.name}: {trouble.trouble}",
            ready=view.complete,
            stalled=True,
            extra=extra,
        )
    if waiting is not None:
        reason = "NodesFull" if view.gpus.verdict == "Matched" else "Unschedulable"
        text = f"pod {waiting.name} waits for a node: {waiting.unschedulable}"
        return State(reason, text, ready=view.complete, progressing=True, extra=extra)
    step = view.step.phase
    if step in ("rolling", "clearing"):
        text = f"revision {view.step.current_revision} is being replaced by {view.revision}"
        return State("RollingOut", text, ready=view.complete, progressing=True, extra=extra)
    if step == "held":
        text = f"the rollout of revision {view.revision} is held"
        return State("RolloutHeld", text, ready=view.complete, progressing=True, extra=extra)
    if view.complete:
        agents = "1 agent serves" if view.replicas == 1 else f"{view.replicas} agents serve"
        return State("AllServing", agents, ready=True, extra=extra)
    text = f"{view.serving} of {view.replicas} agents serve"
    reason = "Scaling" if step == "scaling" else "Starting"
    return State(reason, text, progressing=True, extra=extra)


def _gpu_condition(view: PoolView) -> tuple[tuple[str, bool, str, str], ...]:
    if view.gpus.verdict == "NotAsked":
        return ()
    matched = view.gpus.verdict == "Matched"
    said = view.gpus.message or "there are nodes that can take its pods"
    return (("GPUsMatched", matched, view.gpus.verdict, said),)
