"""The CEL in the flow: it compiles, and names what rows have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from weft_api.errors import ManifestError
from weft_api.expressions import Kind, problem_of
from weft_api.flow import BRANCH, ROW_NAMES, divides
from weft_api.governance import TAGS, tags
from weft_api.pipeline import SyntheticPipeline
from weft_api.pool import AgentPool
from weft_api.validation.known import Known


def condition_faults(
    pipeline: SyntheticPipeline, pools: Sequence[AgentPool], known: Known | None
) -> Iterator[ManifestError]:
    spec = pipeline.spec
    columns = known.columns if known else None
    # Before the first agent a row has its columns and its id, and nothing else.
    at_first = columns | {"id"} if columns is not None else None
    of_source: dict[str, tuple[str | None, Kind]] = {
        "priority": (spec.source.priority, int),
        "deadline": (spec.source.deadline, timedelta),
    }
    for field, (source, gives) in of_source.items():
        if source and (problem := problem_of(source, gives=gives, known=at_first)):
            yield pipeline.fault(("spec", "source", field), problem.problem, problem.fix)
    names = _names_of_rows(pools, known)
    if names is not None and tags(spec.governance):
        names |= {TAGS}
    if names is not None and divides(spec.flow.steps):
        names |= {BRANCH}
    for at, step in enumerate(spec.flow.steps):
        for n, edge in enumerate(step.next):
            if edge.when is not None and (problem := problem_of(edge.when, known=names)):
                path = ("spec", "flow", "steps", at, "next", n, "when")
                yield pipeline.fault(path, problem.problem, problem.fix)


def _names_of_rows(pools: Sequence[AgentPool], known: Known | None) -> frozenset[str] | None:
    """What a row may have anywhere in the flow; None unless all of it is known."""
    if known is None or known.columns is None:
        return None
    if any(pool.metadata.name not in known.fields for pool in pools):
        return None
    return ROW_NAMES.union(known.columns, *known.fields.values())
