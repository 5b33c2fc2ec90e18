"""Whether any node can ever give a pool its GPUs, and what is missing if none can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from weft_api.pool import AgentPool
from weft_operator.decide.pods import GPU_MEMORY, GPU_PRODUCT, GPU_RESOURCE, least_gpu_mebibytes
from weft_operator.facts import Node

_SHOWN = 6


@dataclass(frozen=True)
class GpuCheck:
    """`Unmatched`: no node that exists can ever take a pod of the pool; `lines` say why."""

    verdict: Literal["NotAsked", "Unknown", "Matched", "Unmatched"]
    lines: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return "; ".join(self.lines)


def check(pool: AgentPool, nodes: Sequence[Node] | None) -> GpuCheck:
    """Over all nodes, full or not: a full node matches, and its pods wait.

    A podTemplate's own affinity is not looked at; the scheduler's word on it is shown with the pod.
    """
    gpu = pool.spec.gpu
    if gpu is None:
        return GpuCheck("NotAsked")
    if nodes is None:
        return GpuCheck("Unknown", ("the operator may not read nodes",))
    # Each requirement in turn narrows the nodes down; the one that leaves none is the fault.
    left: list[Node] = list(nodes)
    selector = dict(pool.spec.node_selector)
    if gpu.product is not None:
        selector[GPU_PRODUCT] = gpu.product
    for label, value in selector.items():
        fit = [node for node in left if node.labels.get(label) == value]
        if not fit:
            return _unmatched(_label_missing(label, value, left, nodes))
        left = fit
    if gpu.memory is not None:
        least = least_gpu_mebibytes(gpu.memory)
        fit = [node for node in left if _memory(node) >= least]
        if not fit:
            found = _values(GPU_MEMORY, left)
            return _unmatched(
                f"no node has the label {GPU_MEMORY} at {least} (MiB, for {gpu.memory}) or more; "
                f"{_there_is(found)}"
            )
        left = fit
    fit = [node for node in left if node.gpus >= gpu.count]
    if not fit:
        most = max((node.gpus for node in left), default=0)
        return _unmatched(
            f"no node has {gpu.count} of {GPU_RESOURCE}; the most that a node"
            f"{' with these labels' if selector or gpu.memory else ''} has is {most}"
        )
    left, fit = fit, [node for node in fit if _tolerates(pool, node)]
    if not fit:
        taints = sorted({_taint(t) for node in left for t in node.taints if _repels(t)})
        return _unmatched(
            f"the nodes that match have taints that the pool does not tolerate: "
            f"{', '.join(taints)}; add them to spec.tolerations"
        )
    return GpuCheck("Matched")


def _unmatched(line: str) -> GpuCheck:
    return GpuCheck("Unmatched", (line,))


def _label_missing(label: str, value: str, left: Sequence[Node], every: Sequence[Node]) -> str:
    found = _values(label, left)
    line = f"no node has the label {label}={value}"
    if len(left) < len(every):
        line += " beside the other labels that are asked for"
    return f"{line}; {_there_is(found)}"


def _there_is(found: Mapping[str, int]) -> str:
    if not found:
        return "no node has that label at all (is GPU feature discovery installed?)"
    shown = [f"{value} ({count} nodes)" for value, count in list(found.items())[:_SHOWN]]
    return f"there is {', '.join(shown)}{' …' if len(found) > _SHOWN else ''}"


def _values(label: str, nodes: Iterable[Node]) -> dict[str, int]:
    counted = Counter(node.labels[label] for node in nodes if label in node.labels)
    return dict(sorted(counted.items()))


def _memory(node: Node) -> int:
    value = node.labels.get(GPU_MEMORY, "")
    return int(value) if value.isdigit() else 0


def _repels(taint: Mapping[str, str]) -> bool:
    # Cordons and failures come and go; a node under one can take the pod later.
    passing = taint.get("key", "").startswith("node.kubernetes.io/")
    return taint.get("effect") in ("NoSchedule", "NoExecute") and not passing


def _tolerates(pool: AgentPool, node: Node) -> bool:
    """Kubernetes' own rule: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""
    return all(
        any(
            (t.key is None or t.key == taint.get("key"))
            and (t.operator == "Exists" or (t.value or "") == taint.get("value", ""))
            and (t.effect is None or t.effect == taint.get("effect"))
            for t in pool.spec.tolerations
        )
        for taint in node.taints
        if _repels(taint)
    )


def _taint(taint: Mapping[str, str]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"
