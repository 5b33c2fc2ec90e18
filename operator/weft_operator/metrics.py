"""What Prometheus is told; Kopf has no metrics of its own."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

RECONCILES: Final = Counter("weft_operator_reconciles_total", "Reconciles by outcome.", ["outcome"])
RECONCILE_SECONDS: Final = Histogram(
    "weft_operator_reconcile_seconds",
    "Time that one reconcile took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
QUEUE_SECONDS: Final = Histogram(
    "weft_operator_queue_seconds",
    "Time that a pipeline waited for its reconcile.",
    buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30),
)
QUEUE_DEPTH: Final = Gauge("weft_operator_queue_depth", "Pipelines that wait for their reconcile.")
API_REQUESTS: Final = Counter(
    "weft_operator_api_requests_total",
    "Requests to the Kubernetes API, watches aside.",
    ["method", "status"],
)
HEAD_REQUESTS: Final = Counter(
    "weft_operator_head_requests_total", "Requests to heads' control APIs.", ["call", "outcome"]
)
LEADER: Final = Gauge("weft_operator_leader", "1 on the replica that leads.")
WATCH_AGE: Final = Gauge(
    "weft_operator_watch_behind_seconds",
    "How long a watch has not shown what the API server has; 0 is right.",
    ["kind"],
)
OBJECTS: Final = Gauge("weft_operator_objects", "Objects known, by kind.", ["kind"])
PIPELINES: Final = Gauge("weft_operator_pipelines", "Pipelines by phase.", ["phase"])
CONDITIONS: Final = Gauge(
    "weft_operator_conditions",
    "Objects whose condition is True.",
    ["kind", "type"],
)
CREATE_SECONDS: Final = Histogram(
    "weft_operator_create_seconds",
    "Time from a pipeline's creation to that of its RayCluster (whole seconds: creationTimestamp).",
    buckets=(1, 2, 3, 5, 10, 20, 30, 60, 120),
)
