"""Names, labels and ports that the operator, the pods and the chart agree on."""

from __future__ import annotations

from typing import Final

GROUP: Final = "weft.dev"
MANAGER: Final = "weft-operator"
"""Field manager, and value of app.kubernetes.io/managed-by."""

PIPELINE_LABEL: Final = "weft.dev/pipeline"
POOL_LABEL: Final = "weft.dev/pool"
ROLE_LABEL: Final = "weft.dev/role"
REVISION_LABEL: Final = "weft.dev/revision"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"

SPEC_DIGEST: Final = "weft.dev/spec-digest"
"""Annotation of a RayCluster: digest of the spec as the operator wrote it (drift shows by it)."""
PLAN_GENERATION: Final = "weft.dev/plan-generation"

HEAD_PORT: Final = 8484
AGENT_PORT: Final = 8485

CONTAINER: Final = "ray"
"""Name of the container that podTemplate overlays refer to."""
PLAN_FOLDER: Final = "/etc/weft"
PLAN_FILE: Final = "plan.json"
TOKEN_KEY: Final = "token"
RAY_TOKEN_KEY: Final = "auth_token"
"""The key that KubeRay reads Ray's own token from."""

WRITERS: Final = "writers"
SLOTS: Final = ("a", "b")


def group_name(pool: str, slot: str) -> str:
    return f"{pool}-{slot}"


def token_secret(pipeline: str) -> str:
    return f"{pipeline}-weft-token"


def plan_map(pipeline: str) -> str:
    return f"{pipeline}-weft-plan"


def pod_selector(pipeline: str, pool: str) -> str:
    return f"{PIPELINE_LABEL}={pipeline},{POOL_LABEL}={pool}"
