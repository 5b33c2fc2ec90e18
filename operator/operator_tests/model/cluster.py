"""Everything but the operator that works on the objects: KubeRay, kubelets, the collector, heads.

KubeRay's part follows 1.6's `reconcilePods`: named pods are deleted whatever the replicas, a
terminating pod counts as a replica, the first of too many go, and nothing else is ever removed.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from operator_tests.model.server import ModelServer
from weft_operator import names
from weft_operator.api import ApiError
from weft_operator.facts import owner_uid, timestamp
from weft_operator.jsontypes import Object, dig
from weft_operator.kuberay import GROUP_LABEL, NODE_TYPE_LABEL

TICK: Final = 0.5
IN_FLIGHT: Final = 4
"""Rows on their way while a model head runs; each tick of a drain ends one."""


class ModelRefusal(Exception):
    """The head's control API says no."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass
class ModelHead:
    """The process in a head's pod, by the pod's uid."""

    plan: Object
    token: str
    started: float
    phase: str = "Running"
    in_flight: int = IN_FLIGHT


@dataclass
class Dataset:
    """What is in the output: it outlives every pod."""

    committed: int = 0
    allowed: int = 3
    """No more are committed until the scenario lets more through."""


@dataclass
class ModelCluster:
    server: ModelServer
    clock: Any
    chance: random.Random
    lag: float = 0.0
    """Chance that KubeRay, a kubelet, the collector or a head does nothing in a tick."""
    heads: dict[str, ModelHead] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    """By the uid of the pipeline."""
    done: Counter[str] = field(default_factory=Counter)
    """What had an effect beyond the API server: pods made and ended, Plans taken, drains."""
    fewest_serving: dict[str, int] = field(default_factory=dict)
    """By pool, since it was last reset by a scenario."""
    refuses: str = ""
    """Why heads take no Plan; empty: they take any newer one."""
    _made: int = 0

    def tick(self) -> None:
        for part in (self.kuberay, self.kubelets, self.collector, self.run_heads):
            if self.chance.random() >= self.lag:
                part()
        for pool in self.fewest_serving:
            self.fewest_serving[pool] = min(self.fewest_serving[pool], self.serving(pool))

    # KubeRay

    def kuberay(self) -> None:
        for cluster in list(self.server.all("rayclusters")):
            if "deletionTimestamp" not in cluster["metadata"]:
                self._reconcile(cluster)

    def _reconcile(self, cluster: Object) -> None:
        uid, spec = cluster["metadata"]["uid"], cluster["spec"]
        own = [p for p in self.server.all("pods") if owner_uid(p) == uid]
        if spec.get("suspend"):
            for pod in own:
                self.end_pod(pod)
            self._say(cluster, "suspended", 0)
            return
        heads = [p for p in own if p["metadata"]["labels"].get(NODE_TYPE_LABEL) == "head"]
        if not heads:
            self._make(cluster, "headgroup", spec["headGroupSpec"]["template"], "head")
        for group in spec.get("workerGroupSpecs") or ():
            self._group(cluster, group, own)
        self._say(cluster, "ready", sum(_is_ready(p) for p in own))

    def _group(self, cluster: Object, group: Object, own: list[Object]) -> None:
        name = group["groupName"]
        pods = [p for p in own if p["metadata"]["labels"].get(GROUP_LABEL) == name]
        leaving = set(dig(group, "scaleStrategy", "workersToDelete") or ())
        for pod in pods:
            if pod["metadata"]["name"] in leaving:
                self.end_pod(pod)
        staying = [p for p in pods if p["metadata"]["name"] not in leaving]
        for _ in range(group["replicas"] - len(staying)):
            self._make(cluster, name, group["template"], "worker")
        for pod in staying[: max(0, len(staying) - group["replicas"])]:
            self.end_pod(pod)

    def _make(self, cluster: Object, group: str, template: Object, kind: str) -> None:
        meta = cluster["metadata"]
        self._made += 1
        labels = {**(dig(template, "metadata", "labels") or {}), GROUP_LABEL: group}
        labels |= {"ray.io/cluster": meta["name"], NODE_TYPE_LABEL: kind}
        name = f"{meta['name']}-{group}-{self._made:04}"
        owner = {"kind": "RayCluster", "name": meta["name"], "uid": meta["uid"], "controller": True}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": meta["namespace"],
                "labels": labels,
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
        }
        with contextlib.suppress(ApiError):
            self._ask("POST", "pods", meta["namespace"], pod)
            self.done[f"pod of {group} at {labels.get(names.REVISION_LABEL, 'none')} made"] += 1

    def end_pod(self, pod: Object) -> None:
        meta = pod["metadata"]
        if "deletionTimestamp" not in meta:
            self._ask("DELETE", f"pods/{meta['name']}", meta["namespace"])

    def _say(self, cluster: Object, state: str, ready: int) -> None:
        body = {"status": {"state": state, "readyWorkerReplicas": ready}}
        self._status("rayclusters", cluster, body)

    # kubelets

    def kubelets(self) -> None:
        for pod in list(self.server.all("pods")):
            meta = pod["metadata"]
            if "deletionTimestamp" in meta:
                self.done[f"pod of {meta['labels'][GROUP_LABEL]} ended"] += 1
                self.heads.pop(meta["uid"], None)
                self._ask("DELETE", f"pods/{meta['name']}", meta["namespace"], {"now": True})
            elif not _is_ready(pod):
                self._start(pod)

    def _start(self, pod: Object) -> None:
        """Not without what it refers to: the ConfigMap mounted, the Secret in its environment."""
        meta, labels = pod["metadata"], pod["metadata"]["labels"]
        pipeline, namespace = labels.get(names.PIPELINE_LABEL, ""), meta["namespace"]
        plan = self.server.get("configmaps", namespace, names.plan_map(pipeline))
        token = self.server.get("secrets", namespace, names.token_secret(pipeline))
        if plan is None or token is None:
            missing = names.plan_map(pipeline) if plan is None else names.token_secret(pipeline)
            waiting = {"reason": "CreateContainerConfigError", "message": f"{missing} not found"}
            status: Object = {
                "phase": "Pending",
                "containerStatuses": [{"state": {"waiting": waiting}}],
            }
        else:
            status = {
                "phase": "Running",
                "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [
                    {"state": {"running": {"startedAt": timestamp(self.clock())}}}
                ],
            }
            if labels.get(names.ROLE_LABEL) == "head":
                self.heads[meta["uid"]] = ModelHead(
                    json.loads(plan["data"][names.PLAN_FILE]), _token(token), self.clock()
                )
        self._status("pods", pod, {"status": {"containerStatuses": None, **status}})

    # the collector

    def collector(self) -> None:
        there = {obj["metadata"]["uid"] for obj in self.server.objects.values()}
        for id_, obj in list(self.server.objects.items()):
            owner = owner_uid(obj)
            if not owner or owner in there:
                continue
            if id_[0] == "pods":
                self.end_pod(obj)
            else:
                self._ask("DELETE", f"{id_[0]}/{id_[2]}", id_[1])

    # heads

    def run_heads(self) -> None:
        for uid, head in self.heads.items():
            data = self.datasets.setdefault(head.plan["uid"], Dataset())
            total = int(dig(head.plan, "source", "generate", "rows") or 0)
            if head.phase == "Draining":
                head.in_flight = max(0, head.in_flight - 1)
                head.phase = "Draining" if head.in_flight else "Stopped"
                continue
            if head.phase != "Running":
                continue
            if self._instances(uid) and data.committed < min(total, data.allowed):
                data.committed += 1
            if data.committed >= total:
                head.phase, head.in_flight = "Succeeded", 0

    def _instances(self, head_uid: str) -> dict[str, list[Object]]:
        head = next(p for p in self.server.all("pods") if p["metadata"]["uid"] == head_uid)
        found: dict[str, list[Object]] = {}
        for pod in self.server.all("pods"):
            labels = pod["metadata"]["labels"]
            same = labels.get(names.PIPELINE_LABEL) == head["metadata"]["labels"].get(
                names.PIPELINE_LABEL
            )
            if not same or labels.get(names.ROLE_LABEL) != "agent" or not _is_ready(pod):
                continue
            leaving = "deletionTimestamp" in pod["metadata"]
            said = {
                "name": pod["metadata"]["name"],
                "revision": labels.get(names.REVISION_LABEL, ""),
                "state": "draining" if leaving else "serving",
            }
            found.setdefault(labels[names.POOL_LABEL], []).append(said)
        return found

    def serving(self, pool: str) -> int:
        """Agents of a pool that serve, by the heads that there are."""
        return sum(
            each["state"] == "serving"
            for uid in self.heads
            for each in self._instances(uid).get(pool, ())
        )

    def ask_head(self, method: str, path: str, uid: str, token: str, body: str | None) -> Object:
        """Raises `ModelRefusal`; status 0 where nobody answers."""
        head = self.heads.get(uid)
        if head is None:
            raise ModelRefusal(0, "connection refused")
        if token != head.token:
            raise ModelRefusal(401, "the control API needs `Authorization: Bearer <token>`")
        match method, path:
            case "GET", "/v1/status":
                return self._status_of(uid, head)
            case "PUT", "/v1/plan":
                plan = json.loads(body or "")
                if plan["generation"] <= head.plan["generation"]:
                    raise ModelRefusal(
                        422,
                        f"generation {plan['generation']} is not newer than "
                        f"{head.plan['generation']}",
                    )
                if self.refuses:
                    raise ModelRefusal(422, self.refuses)
                head.plan = plan
                self.done[f"plan {plan['generation']} taken"] += 1
                return {}
            case "POST", "/v1/drain":
                if head.phase == "Running":
                    head.phase = "Draining"
                    self.done["drained"] += 1
                return {}
        raise ModelRefusal(404, f"{method} {path}")

    def _status_of(self, uid: str, head: ModelHead) -> Object:
        data = self.datasets.setdefault(head.plan["uid"], Dataset())
        return {
            "phase": head.phase,
            "planGeneration": head.plan["generation"],
            "message": "",
            "reason": "DrainRequested" if head.phase == "Stopped" else "",
            "rows": {"total": 10, "accepted": data.committed, "inFlight": head.in_flight},
            "pools": [{"name": n, "instances": i} for n, i in self._instances(uid).items()],
            "output": {"uri": head.plan["output"]["uri"], "version": data.committed},
            "started": 1_800_000_000.0,
        }

    # how they write

    def _status(self, kind: str, obj: Object, body: Object) -> None:
        meta = obj["metadata"]
        with contextlib.suppress(ApiError):  # it has gone meanwhile
            self._ask("PATCH", f"{kind}/{meta['name']}/status", meta["namespace"], body)

    def _ask(self, method: str, path: str, namespace: str, body: Any = None) -> Object:
        plural = path.partition("/")[0]
        root = "/apis/ray.io/v1" if plural == "rayclusters" else "/api/v1"
        if plural == "networkpolicies":
            root = "/apis/networking.k8s.io/v1"
        whole = f"{root}/namespaces/{namespace}/{path}"
        return self.server.ask(
            method, whole, body=body, query={}, content="merge", who="the cluster"
        )


def _is_ready(pod: Object) -> bool:
    conditions = dig(pod, "status", "conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _token(secret: Object) -> str:
    import base64

    return base64.b64decode(secret["data"][names.TOKEN_KEY]).decode()
