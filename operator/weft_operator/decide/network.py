"""Who may reach a pipeline's pods: its own pods, the operator, and whoever scrapes metrics.

Ray's and our own ports take a token, and Ray's check can fail open; so the network is closed too.
What the pods reach themselves (models, stores) is not the operator's to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from weft_operator import names
from weft_operator.jsontypes import Object

RAY_METRICS_PORT = 8080


@dataclass(frozen=True)
class Callers:
    """Who is let in beside the pipeline's own pods."""

    operator_namespace: str
    operator_labels: Mapping[str, str]
    metrics_namespaces: tuple[str, ...] = field(default=())
    """Namespaces whose pods may read metrics."""


def policy(pipeline: str, callers: Callers) -> Object:
    """The spec of a NetworkPolicy over all pods of a pipeline."""
    own = {names.PIPELINE_LABEL: pipeline}
    ingress: list[Object] = [
        {"from": [{"podSelector": {"matchLabels": own}}]},
        {
            "from": [
                {
                    "namespaceSelector": _named(callers.operator_namespace),
                    "podSelector": {"matchLabels": dict(callers.operator_labels)},
                }
            ],
            "ports": [_port(names.HEAD_PORT)],
        },
    ]
    if callers.metrics_namespaces:
        ports = (names.HEAD_PORT, names.AGENT_PORT, RAY_METRICS_PORT)
        scrapers = [{"namespaceSelector": _named(n)} for n in callers.metrics_namespaces]
        ingress.append({"from": scrapers, "ports": [_port(port) for port in ports]})
    return {
        "podSelector": {"matchLabels": own},
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    }


def _named(namespace: str) -> Object:
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def _port(number: int) -> Object:
    return {"protocol": "TCP", "port": number}
