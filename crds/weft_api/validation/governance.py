"""What governance rules name: steps, tools and columns that exist."""

from __future__ import annotations

from collections.abc import Iterator

from weft_api.errors import ManifestError, did_you_mean
from weft_api.governance import ENTITIES, SOURCE, GovernanceRule
from weft_api.pipeline import SyntheticPipeline
from weft_api.validation.known import Known


def governance_faults(pipeline: SyntheticPipeline, known: Known | None) -> Iterator[ManifestError]:
    spec = pipeline.spec
    steps = {step.name for step in spec.flow.steps}
    tools = {tool.name for tool in spec.tools}
    columns = known.columns if known else None
    for at, rule in enumerate(spec.governance):
        path = ("spec", "governance", at)
        for n, step in enumerate(rule.steps):
            if step == SOURCE:
                if not rule.pii_or_blocked:
                    problem = f"{_kind(rule)} cannot be held against the source's rows"
                    fix = "leave $source out"
                    yield pipeline.fault((*path, "steps", n), problem, fix)
            elif step not in steps:
                problem = f'step "{step}" does not exist'
                yield pipeline.fault((*path, "steps", n), problem, did_you_mean(step, steps))
        for n, tool in enumerate(rule.tools.names if rule.tools else []):
            if tool not in tools:
                problem = f'tool "{tool}" is not defined'
                fix = did_you_mean(tool, tools, otherwise="define it in tools")
                yield pipeline.fault((*path, "tools", "names", n), problem, fix)
        for n, entity in enumerate(rule.pii.entities if rule.pii else []):
            if entity not in ENTITIES:
                problem = f'Presidio knows no entity "{entity}"'
                fix = did_you_mean(entity, ENTITIES)
                yield pipeline.fault((*path, "pii", "entities", n), problem, fix)
        if rule.source and columns is not None and rule.source.column not in columns:
            problem = f'the source has no column "{rule.source.column}"'
            fix = did_you_mean(rule.source.column, columns)
            yield pipeline.fault((*path, "source", "column"), problem, fix)


def _kind(rule: GovernanceRule) -> str:
    return "limits" if rule.limits else "tools"
