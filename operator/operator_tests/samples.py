"""Objects for tests, as the API server would give them."""

from __future__ import annotations

import copy
from typing import Any

from weft_operator.decide.decision import Decision, decide
from weft_operator.decide.pods import Defaults
from weft_operator.facts import HeadStatus, Node, Observed, PlanSeen, Pod
from weft_operator.jsontypes import Object, digest
from weft_operator.kuberay import RayCluster
from weft_operator.names import PLAN_FILE, SPEC_DIGEST
from weft_operator.store import text_digest

NOW = 1_800_000_000.0
DEFAULTS = Defaults(image="weft.dev/agents:1")
UID = "uid-of-the-pipeline"


def pipeline(namespace: str = "team", name: str = "support", **spec: Any) -> Object:
    return {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "SyntheticPipeline",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "source": {"generate": {"rows": 10}},
            "output": {"uri": "/data/out"},
            "flow": {
                "entry": "drafter",
                "steps": [{"name": "drafter", "next": [{"to": "$accept"}]}],
            },
            "prompts": [{"name": "draft", "text": "Write."}],
            **spec,
        },
    }


def pool(
    namespace: str = "team", name: str = "drafter", of: str = "support", **spec: Any
) -> Object:
    return {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "AgentPool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "pipelineRef": {"name": of},
            "agent": "weft.builtin:ChatAgent",
            "config": {"prompt": "draft"},
            "engine": {"simulator": {}},
            "replicas": 2,
            **spec,
        },
    }


def stored(obj: Object, uid: str = UID, **meta: Any) -> Object:
    """With the metadata that the API server adds."""
    obj = copy.deepcopy(obj)
    created = "2027-01-15T07:00:00Z"  # an hour before NOW
    obj["metadata"] |= {"uid": uid, "generation": 1, "creationTimestamp": created, **meta}
    return obj


class World:
    """What the operator sees, moved on by its own decisions: a cluster without a cluster."""

    def __init__(self, *pools: Object, **spec: Any) -> None:
        self.pipeline = stored(pipeline(**spec))
        self.pools = [stored(p, f"uid-{p['metadata']['name']}") for p in pools or (pool(),)]
        self.cluster: Object | None = None
        self.plan: Object | None = None
        self.pods: list[Pod] = []
        self.nodes: tuple[Node, ...] | None = ()
        self.head: HeadStatus | None = None
        self.prompt_maps: dict[str, dict[str, str] | None] = {}
        self.now = NOW
        self.defaults = DEFAULTS

    def seen(self) -> Observed:
        plan = None
        if self.plan is not None:
            note = self.plan["metadata"]["annotations"]["weft.dev/plan-generation"]
            plan = PlanSeen(int(note), text_digest(self.plan["data"][PLAN_FILE]), UID)
        return Observed(
            key=("team", "support"),
            now=self.now,
            pipeline=self.pipeline,
            pools=tuple(self.pools),
            cluster=None if self.cluster is None else RayCluster.from_object(self.cluster),
            plan=plan,
            pods=tuple(self.pods),
            nodes=self.nodes,
            head=self.head,
            prompt_maps=self.prompt_maps,
        )

    def decide(self) -> Decision:
        return decide(self.seen(), self.defaults)

    def step(self) -> Decision:
        """Decides, and carries it out in this world."""
        decision = self.decide()
        if decision.plan_map is not None:
            self.plan = decision.plan_map
        if decision.create is not None:
            self.cluster = stored(decision.create, "uid-of-the-cluster")
        if decision.replace is not None:
            assert self.cluster is not None
            spec = decision.replace.spec.to_object()
            self.cluster["spec"] = spec
            self.cluster["metadata"]["annotations"][SPEC_DIGEST] = digest(spec)
            self.cluster["metadata"]["generation"] += 1
        if decision.remove is not None:
            self.cluster = None
        if decision.status is not None:
            self.pipeline["status"] = decision.status
        for name, status in decision.pool_statuses.items():
            next(p for p in self.pools if p["metadata"]["name"] == name)["status"] = status
        return decision

    def settle(self, most: int = 10) -> Decision:
        """Until nothing is left to do; the last decision."""
        for _ in range(most):
            decision = self.step()
            if not writes(decision):
                return decision
        raise AssertionError(f"it never comes to rest: {writes(decision)}")

    def groups(self) -> dict[str, Object]:
        assert self.cluster is not None
        return {g["groupName"]: g for g in self.cluster["spec"]["workerGroupSpecs"]}

    def run_pods(self, *, serving: bool = True) -> None:
        """KubeRay, the kubelets and the head do their part: all asked-for pods are there."""
        assert self.cluster is not None
        template = self.cluster["spec"]["headGroupSpec"]["template"]
        made = [_pod("support-head-1", "headgroup", template, serving)]
        for name, group in self.groups().items():
            made += [
                _pod(f"support-{name}-{n}", name, group["template"], serving)
                for n in range(group["replicas"])
            ]
        self.pods = made
        if serving:
            self.head_says("Running")

    def head_says(self, phase: str, *, generation: int | None = None, **more: Any) -> None:
        assert self.plan is not None
        note = int(self.plan["metadata"]["annotations"]["weft.dev/plan-generation"])
        pools: dict[str, Any] = {}
        for each in self.pods:
            if each.role == "agent":
                pools.setdefault(each.pool, []).append(
                    {"name": each.name, "revision": each.revision, "state": "serving"}
                )
        status = {
            "phase": phase,
            "planGeneration": note if generation is None else generation,
            "rows": {"total": 10, "accepted": 3},
            "pools": [{"name": n, "instances": i} for n, i in pools.items()],
            "output": {"uri": "/data/out", "version": 3},
            "started": self.now - 10,
            **more,
        }
        head = next((p for p in self.pods if p.role == "head"), None)
        uid = head.uid if head is not None else ""
        self.head = HeadStatus.from_object(status, at=self.now, pod_uid=uid)


def writes(decision: Decision) -> dict[str, Any]:
    """What a decision would write."""
    kinds = ("token", "plan_map", "create", "replace", "remove", "delete_pods", "hand_plan")
    more = ("status", "pool_statuses", "events")
    return {k: v for k in (*kinds, *more) if (v := getattr(decision, k))}


def _pod(name: str, group: str, template: Object, ready: bool) -> Pod:
    labels = {**template["metadata"]["labels"], "ray.io/group": group}
    return Pod.from_object(
        {
            "metadata": {
                "name": name,
                "namespace": "team",
                "uid": f"uid-{name}",
                "labels": labels,
                "creationTimestamp": "2027-01-15T07:30:00Z",
            },
            "spec": {"nodeName": "node-1"},
            "status": {
                "phase": "Running",
                "podIP": "127.0.0.1",
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            },
        }
    )


def gpu_node(
    name: str = "gpu-1",
    *,
    gpus: int = 8,
    product: str = "NVIDIA-H100-80GB-HBM3",
    memory: str = "81559",
    **labels: str,
) -> Node:
    known = {"nvidia.com/gpu.product": product, "nvidia.com/gpu.memory": memory}
    return Node(name, {**known, **labels}, (), gpus, schedulable=True, ready=True)
