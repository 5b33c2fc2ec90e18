"""What is to be done about one pipeline, from what has been seen of it. Pure; no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from weft_api.pipeline import SyntheticPipeline
from weft_operator import names
from weft_operator.decide import network, scale, statuses
from weft_operator.decide import pools as pool_views
from weft_operator.decide.compiled import Compiled, compiled
from weft_operator.decide.conditions import DRAINED, State, condition
from weft_operator.decide.lifecycle import Course, course
from weft_operator.decide.pods import Defaults
from weft_operator.decide.pools import PoolView, view
from weft_operator.decide.raycluster import (
    WriterPod,
    cluster_object,
    desired_spec,
    head_revision,
    is_drifted,
    own_labels,
    owner_reference,
)
from weft_operator.decide.statuses import Announcement
from weft_operator.facts import HeadStatus, Observed, Pod, seconds
from weft_operator.jsontypes import Object, dig
from weft_operator.kuberay import ClusterSpec, RayCluster

PATIENCE: Final = 10.0
"""Seconds that a new pipeline is given for what it refers to: `kubectl apply -k` sends objects one
by one, in an order of its own."""
DRAIN_SECONDS: Final = 60.0
"""What a pipeline that is suspended is given to finish the rows that are in hand."""
HEAD_WORD: Final = 30.0
"""Seconds for which the head's last answer counts."""
CLOCKS_DIFFER: Final = 2.0
"""Seconds that a node's clock may be behind the API server's."""


@dataclass(frozen=True)
class Replacement:
    """A new spec for a RayCluster that was seen at one generation, and is written only to that."""

    seen: RayCluster
    spec: ClusterSpec


@dataclass(frozen=True)
class Decision:
    """Writes, in the order in which they are made. Empty: all is as it shall be."""

    token: Object | None = None
    """Secret without its values, made where there is none; they are drawn when it is made."""
    plan_map: Object | None = None
    network_policy: Object | None = None
    create: Object | None = None
    replace: Replacement | None = None
    remove: RayCluster | None = None
    delete_pods: tuple[Pod, ...] = ()
    hand_plan: str = ""
    """The Plan's JSON for the running head, once the ConfigMap has it."""
    drain: bool = False
    """Whether the head is to be told to issue nothing more."""
    plan_generation: int = 0
    """Of the Plan that is out, or goes out now."""
    status: Object | None = None
    pool_statuses: Mapping[str, Object] = field(default_factory=dict)
    events: tuple[Announcement, ...] = ()
    memories: Mapping[str, scale.Memory] = field(default_factory=dict)
    again_in: float | None = None
    polls: bool = False
    """Whether the head is to be asked regularly."""


def decide(
    seen: Observed, defaults: Defaults, memories: Mapping[str, scale.Memory] | None = None
) -> Decision:
    if "deletionTimestamp" in seen.pipeline["metadata"]:
        return Decision()  # its objects follow it by their owner references
    if waits := _others_remains(seen):
        return waits
    if not seen.pools and _is_new(seen) and not seen.pipeline.get("status"):
        return Decision(again_in=PATIENCE)  # its pools are on their way
    made = compiled(seen)
    if made.plan is None:
        return _faulty(seen, made)
    assert made.pipeline is not None
    return _Run(seen, made, made.pipeline, defaults, memories or {}).decision()


def missing_pipeline(
    name: str, pools: Sequence[Mapping[str, Any]], now: float
) -> tuple[Mapping[str, Object], tuple[Announcement, ...], float | None]:
    """(statuses, events, seconds to wait) for pools whose pipeline does not exist."""
    reported: dict[str, Object] = {}
    events: list[Announcement] = []
    wait = 0.0
    for obj in pools:
        age = now - seconds(obj["metadata"].get("creationTimestamp"))
        if age < PATIENCE:
            wait = max(wait, PATIENCE - age)
            continue
        text = (
            f'spec.pipelineRef.name: there is no SyntheticPipeline "{name}" in this namespace; '
            "create it, or make the pool anew with the right name"
        )
        state = State("PipelineMissing", text, stalled=True)
        status = statuses.pool_status(obj, state, now=now, view=None, pipeline=name)
        if status != obj.get("status"):
            reported[obj["metadata"]["name"]] = status
            events += statuses.announcements(obj, status)
    return reported, tuple(events), wait or None


def _others_remains(seen: Observed) -> Decision | None:
    """Objects of a former pipeline of this name go by themselves; until then nothing is made."""
    uid = seen.pipeline["metadata"]["uid"]
    former = seen.cluster is not None and (seen.cluster.deleting or seen.cluster.owner_uid != uid)
    former = former or (seen.plan is not None and seen.plan.owner_uid not in ("", uid))
    return Decision(again_in=1.0) if former else None


def _is_new(seen: Observed) -> bool:
    return seen.now - seconds(seen.pipeline["metadata"].get("creationTimestamp")) < PATIENCE


def _faulty(seen: Observed, made: Compiled) -> Decision:
    """What runs goes on as it is; the faults are shown."""
    if made.only_awaits and _is_new(seen) and not seen.pipeline.get("status"):
        return Decision(again_in=PATIENCE)
    running = seen.cluster is not None
    reason = made.faults[0].reason
    state = State(reason, made.lines, stalled=True)
    head = _fresh_head(seen)
    before = dig(seen.pipeline, "status", "phase")
    phase = before if running and before not in (None, "Stalled") else "Stalled"
    status = statuses.pipeline_status(seen, phase, state, head=head)
    pool_statuses: dict[str, Object] = {}
    events: list[Announcement] = []
    for obj in seen.pools:
        name = obj["metadata"]["name"]
        own = [f for f in made.faults if f.kind == "AgentPool" and f.name == name]
        if own:
            said = State(own[0].reason, "\n".join(map(str, own)), stalled=True)
        else:
            said = State("PipelineFaulty", "the pipeline has faults", progressing=True)
        kept = {k: v for k, v in (obj.get("status") or {}).items() if k != "conditions"}
        full = statuses.pool_status(obj, said, now=seen.now, view=None, pipeline=seen.key[1])
        full = {**full, **kept, "observedGeneration": full["observedGeneration"]}
        if full != obj.get("status"):
            pool_statuses[name] = full
            events += statuses.announcements(obj, full)
    return _with_status(
        seen, Decision(pool_statuses=pool_statuses, polls=running), status, tuple(events)
    )


def _fresh_head(seen: Observed) -> HeadStatus | None:
    """The head's word, if it is recent and from the head that is there now."""
    head = seen.head
    if head is None or seen.now - head.at > HEAD_WORD:
        return None
    pod = head_pod(seen.pods)
    return head if pod is not None and pod.uid == head.pod_uid else None


def head_pod(pods: Sequence[Pod]) -> Pod | None:
    return next((pod for pod in pods if pod.role == "head" and not pod.deleting), None)


def _with_status(
    seen: Observed, decision: Decision, status: Object, events: tuple[Announcement, ...] = ()
) -> Decision:
    before = seen.pipeline.get("status") or {}
    if status == before:
        return Decision(**{**vars(decision), "events": events})
    turned = (*events, *statuses.announcements(seen.pipeline, status))
    return Decision(**{**vars(decision), "status": status, "events": turned})


@dataclass(frozen=True)
class _Run:
    """A pipeline without faults."""

    seen: Observed
    made: Compiled
    pipeline: SyntheticPipeline
    defaults: Defaults
    memories: Mapping[str, scale.Memory]

    def decision(self) -> Decision:
        seen, spec = self.seen, self.pipeline.spec
        plan = self.made.plan
        assert plan is not None
        head = _fresh_head(seen)
        way = course(
            suspend=spec.suspend,
            finished=self._finished(head, plan.generation),
            finished_at=seconds(dig(seen.pipeline, "status", "finishedAt")) or seen.now,
            ttl_seconds=spec.ttl_seconds_after_finished,
            now=seen.now,
        )
        views, memories = self._views(head, way)
        drains_for = self._drains_for(head, way)
        writes = self._writes(views, way, head) if drains_for is None else {}
        hand = way.wish == "run" and head is not None and head.plan_generation < plan.generation
        again_in = way.remove_in if drains_for is None else min(drains_for, 1.0)
        phase, state = self._state(views, way, head, drains_for is not None)
        if way.wish == "run" and self._resumes(head):
            text = "resumed; a new head takes over when the rows in hand are done"
            state = replace(state, extra=(*state.extra, (DRAINED, False, "Resuming", text)))
        status = statuses.pipeline_status(
            seen,
            phase,
            state,
            pools=f"{sum(v.complete for v in views)}/{len(views)}",
            plan_generation=plan.generation,
            ray_cluster=self.pipeline.metadata.name if way.wish != "remove" else "",
            head=head,
            draining_head=self._draining_head(head, drains_for is not None),
            finished=way.finished,
        )
        pool_statuses, events = self._pool_statuses(views, way, phase)
        decision = Decision(
            **writes,
            hand_plan=self.made.text if hand else "",
            plan_generation=plan.generation,
            pool_statuses=pool_statuses,
            memories=memories,
            # Only when the status says it: by that a successor knows whose drain it is. Whether a
            # drain that was begun has come through is not known, so that it is carried through.
            drain=(drains_for is not None or way.wish == "run")
            and head is not None
            and head.phase == "Running"
            and self._is_draining(),
            again_in=again_in,
            polls=seen.cluster is not None
            and (way.wish in ("run", "keep") or drains_for is not None),
        )
        if seen.head_unasked and seen.pipeline.get("status"):
            # An operator that has just started knows less than what its predecessor reported.
            return replace(decision, pool_statuses={})
        return _with_status(seen, decision, status, events)

    def _drains_for(self, head: HeadStatus | None, way: Course) -> float | None:
        """Seconds for which the rows in hand may still be finished before the pods go; None: they
        need not be waited for, or have been."""
        cluster = self.seen.cluster
        if way.wish != "sleep" or way.finished or cluster is None or cluster.spec.suspend:
            return None
        if self.seen.head_unasked:
            return 1.0
        if head is None or head.phase not in ("Running", "Draining"):
            return None
        if head.phase == "Draining" and not head.rows.get("inFlight"):
            return None
        told = condition(self.seen.pipeline.get("status") or {}, DRAINED)
        since = seconds(told.get("lastTransitionTime")) or self.seen.now
        left = since + DRAIN_SECONDS - self.seen.now
        return left if left > 0 else None

    def _finished(self, head: HeadStatus | None, generation: int) -> bool:
        before = self.seen.pipeline.get("status") or {}
        if before.get("phase") == "Succeeded" and before.get("planGeneration") == generation:
            return not self.made.changed
        return (
            head is not None
            and head.phase == "Succeeded"
            and head.plan_generation == generation
            and not self.made.changed
        )

    def _views(
        self, head: HeadStatus | None, way: Course
    ) -> tuple[list[PoolView], dict[str, scale.Memory]]:
        seen, plan, memories = self.seen, self.made.plan, {}
        assert plan is not None
        asleep = seen.cluster is None or (seen.cluster.spec.suspend and not seen.pods)
        views = []
        for obj in seen.pools:
            pool = self.made.pools[obj["metadata"]["name"]]
            name, wanted = pool.metadata.name, pool.spec.replicas
            if pool.spec.autoscaling is not None:
                current = dig(obj, "status", "desiredReplicas") or wanted
                instances = head.pools.get(name) if head is not None and way.wish == "run" else None
                memory = self.memories.get(name, scale.Memory())
                wanted, memories[name] = scale.replicas(
                    pool.spec.autoscaling, current, instances, memory, seen.now
                )
            views.append(
                view(
                    pool,
                    revision=plan.pool(name).revision,
                    replicas=wanted,
                    cluster=seen.cluster,
                    pods=seen.pods,
                    head=head,
                    nodes=seen.nodes,
                    now=seen.now,
                    asleep=asleep or way.wish == "sleep",
                )
            )
        return views, memories

    def _writes(
        self, views: Sequence[PoolView], way: Course, head: HeadStatus | None
    ) -> dict[str, Any]:
        seen, pipeline, cluster = self.seen, self.pipeline, self.seen.cluster
        if way.wish == "keep":
            return {}
        if way.wish == "remove":
            return {"remove": cluster} if cluster is not None else {}
        if way.wish == "sleep" and cluster is None:
            return {}
        plan = self.made.plan
        writes: dict[str, Any] = {}
        if self.made.changed and plan is not None:
            writes["plan_map"] = self._plan_map(plan.generation)
        # Pods of two versions of Ray cannot be in one cluster, so that all of them go first.
        other_ray = (
            cluster is not None
            and bool(seen.pods)
            and cluster.spec.ray_version != pipeline.spec.ray.version
        )
        spec = desired_spec(
            pipeline,
            self.made.pools,
            {v.name: v.step for v in views},
            self.defaults,
            actual=cluster,
            writers=[
                WriterPod(p.name, p.revision, p.ready, p.deleting)
                for p in seen.pods
                if p.role == "writer"
            ],
            suspend=way.wish == "sleep" or other_ray,
        )
        there = seen.companions
        if cluster is None or (there is not None and not there.token_made):
            writes["token"] = self._owned("Secret", names.token_secret(pipeline.metadata.name))
        if cluster is None or (there is not None and not there.network_policy):
            writes["network_policy"] = self._network_policy()
        if cluster is None:
            writes["create"] = cluster_object(pipeline, spec)
        elif spec != cluster.spec or is_drifted(cluster):
            writes["replace"] = Replacement(cluster, spec)
        elif leaving := self._with_former_token() or self._outdated_head(head, way):
            writes["delete_pods"] = leaving
        return writes

    def _with_former_token(self) -> tuple[Pod, ...]:
        """Pods that began before the token's Secret was made: somebody has deleted the former one,
        which is how a token is changed. Pods know each other by it, so that those would be shut out
        by all that come; no row is lost when they begin anew."""
        there = self.seen.companions
        if there is None or not there.token_made:
            return ()
        before = there.token_made - CLOCKS_DIFFER
        return tuple(p for p in self.seen.pods if not p.deleting and 0 < p.started < before)

    def _draining_head(self, head: HeadStatus | None, drains: bool) -> str:
        """Name of the pod for the status: noted before the head is told, and kept until it is gone.
        What the head says last may be older than what it has been told since."""
        pod = head_pod(self.seen.pods)
        told = self._is_draining() or (drains and head is not None)
        return pod.name if told and pod is not None else ""

    def _is_draining(self) -> bool:
        """Whether the head that is there has been told to finish for a suspension, or may have
        been."""
        pod, noted = head_pod(self.seen.pods), dig(self.seen.pipeline, "status", "drainingHead")
        return pod is not None and pod.name == noted

    def _resumes(self, head: HeadStatus | None) -> bool:
        """A suspension was taken back, and its head is still there and will issue nothing more."""
        going = head is None or head.phase in ("Running", "Draining") or _was_drained(head)
        return going and self._is_draining()

    def _outdated_head(self, head: HeadStatus | None, way: Course) -> tuple[Pod, ...]:
        """A head made from a former template, or one that was drained for a suspension that has
        been taken back. KubeRay makes it anew when it is gone; what is committed is not lost."""
        pod = head_pod(self.seen.pods)
        if pod is None:
            return ()
        is_drained = way.wish == "run" and self._resumes(head) and _was_drained(head)
        return (pod,) if is_drained or pod.revision != head_revision(self.pipeline) else ()

    def _plan_map(self, generation: int) -> Object:
        obj = self._owned("ConfigMap", names.plan_map(self.pipeline.metadata.name))
        obj["metadata"]["annotations"] = {names.PLAN_GENERATION: str(generation)}
        obj["data"] = {names.PLAN_FILE: self.made.text}
        return obj

    def _network_policy(self) -> Object | None:
        if self.defaults.callers is None:
            return None
        obj = self._owned("NetworkPolicy", self.pipeline.metadata.name)
        spec = network.policy(self.pipeline.metadata.name, self.defaults.callers)
        return {**obj, "apiVersion": "networking.k8s.io/v1", "spec": spec}

    def _owned(self, kind: str, name: str) -> Object:
        return {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": self.pipeline.metadata.namespace,
                "labels": own_labels(self.pipeline),
                "ownerReferences": [owner_reference(self.pipeline)],
            },
        }

    def _state(
        self,
        views: Sequence[PoolView],
        way: Course,
        head: HeadStatus | None,
        drains: bool,
    ) -> tuple[str, State]:
        """(phase, state) of the pipeline."""
        if way.finished:
            return "Succeeded", State("Succeeded", _counts(self.seen, head), ready=True)
        if way.wish == "sleep":
            if drains:
                text = (
                    f"suspended; the rows in hand are finished first, {DRAIN_SECONDS:.0f} s at most"
                )
                extra = ((DRAINED, False, "Draining", text),)
                return "Draining", State("Suspending", text, progressing=True, extra=extra)
            if self.seen.pods:
                text = "suspended; its pods are leaving"
                return "Draining", State("Suspending", text, progressing=True)
            return "Suspended", State("Suspended", "suspended; set spec.suspend: false to go on")
        if head is not None and head.phase == "Failed":
            reason = head.reason or "RunFailed"
            return "Failed", State(reason, head.message or "the run failed", stalled=True)
        if head is not None and head.phase == "Stopped" and not self._resumes(head):
            text = head.message or "it was drained; nothing is on its way"
            return "Stopped", State(head.reason or "Stopped", text, ready=True)
        running = head is not None and head.phase in ("Running", "Draining")
        phase = "Running" if running else "Starting"
        pod = head_pod(self.seen.pods)
        if pod is not None and not pod.ready and pod.trouble:
            return phase, State("HeadFailing", f"pod {pod.name}: {pod.trouble}", stalled=True)
        said = {v.name: pool_views.state(v) for v in views}
        for name, state in said.items():
            if state.stalled:
                text = f"AgentPool {name}: {state.message}"
                return phase, State(state.reason, text, stalled=True)
        incomplete = [v.name for v in views if not v.complete]
        if running and not incomplete:
            moving = [n for n, s in said.items() if s.progressing]
            text = "1 pool serves" if len(views) == 1 else f"all {len(views)} pools serve"
            reason = "RollingOut" if moving else "AllPoolsServing"
            return phase, State(reason, text, ready=True, progressing=bool(moving))
        if pod is not None and pod.unschedulable:
            text = f"pod {pod.name} waits for a node: {pod.unschedulable}"
            return phase, State("Unschedulable", text, progressing=True)
        if head is None:
            return phase, State("HeadStarting", "waiting for the head", progressing=True)
        text = f"waiting for {', '.join(incomplete)}" if incomplete else "the head starts"
        return phase, State("PoolsStarting", text, progressing=True)

    def _pool_statuses(
        self, views: Sequence[PoolView], way: Course, phase: str
    ) -> tuple[dict[str, Object], tuple[Announcement, ...]]:
        reported: dict[str, Object] = {}
        events: list[Announcement] = []
        for obj, each in zip(self.seen.pools, views, strict=True):
            if way.finished:
                state = State("Finished", "the pipeline has succeeded", ready=True)
            elif way.wish == "sleep":
                state = State("Suspended", "the pipeline is suspended")
            else:
                state = pool_views.state(each)
            status = statuses.pool_status(
                obj, state, now=self.seen.now, view=each, pipeline=self.seen.key[1]
            )
            if status != obj.get("status"):
                reported[each.name] = status
                events += statuses.announcements(obj, status)
        return reported, tuple(events)


def _was_drained(head: HeadStatus | None) -> bool:
    """It has ended because it was told to issue nothing more, and would not go on by itself."""
    return head is not None and (head.phase, head.reason) == ("Stopped", "DrainRequested")


def _counts(seen: Observed, head: HeadStatus | None) -> str:
    rows: Mapping[str, int] = head.rows if head is not None else {}
    rows = rows or dig(seen.pipeline, "status", "rows") or {}
    return ", ".join(f"{rows.get(kind, 0)} {kind}" for kind in ("accepted", "rejected", "dead"))
