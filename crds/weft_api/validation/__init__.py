"""Cross-checks of a pipeline and its pools: what no single field can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weft_api.errors import ManifestError
from weft_api.pipeline import SyntheticPipeline
from weft_api.pool import AgentPool
from weft_api.validation.bounds import bound_faults
from weft_api.validation.budget import budget_faults
from weft_api.validation.conditions import condition_faults
from weft_api.validation.flow import flow_faults
from weft_api.validation.governance import governance_faults
from weft_api.validation.known import Known
from weft_api.validation.pools import pool_faults
from weft_api.validation.references import reference_faults
from weft_api.validation.rules import rule_faults
from weft_api.validation.uris import uri_faults

__all__ = ["Known", "faults"]


def faults(
    pipeline: SyntheticPipeline,
    pools: Sequence[AgentPool],
    *,
    known: Known | None = None,
    prompt_texts: Mapping[str, str] | None = None,
) -> list[ManifestError]:
    """Everything that is wrong, one resource after the other."""
    exact = [
        *uri_faults(pipeline),
        *bound_faults(pipeline),
        *budget_faults(pipeline, pools),
        *flow_faults(pipeline),
        *condition_faults(pipeline, pools, known),
        *reference_faults(pipeline, pools, known, prompt_texts or {}),
        *pool_faults(pipeline, pools),
        *governance_faults(pipeline, known),
    ]
    found = exact + [
        fault
        for rule, fault in rule_faults(pipeline, *pools)
        if not (rule.told_better and any(_covers(fault, other) for other in exact))
    ]
    resources = [(r.kind, r.metadata.name) for r in (pipeline, *pools)]
    return sorted(found, key=lambda fault: resources.index((fault.kind, fault.name)))


def _covers(rule: ManifestError, exact: ManifestError) -> bool:
    same = (rule.kind, rule.name) == (exact.kind, exact.name)
    return same and exact.path[: len(rule.path)] == rule.path
