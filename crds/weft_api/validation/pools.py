"""Pools and steps: each step is served, each pool serves a step of this pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weft_api.errors import ManifestError, did_you_mean, likeliest
from weft_api.pipeline import SyntheticPipeline
from weft_api.pool import AgentPool


def pool_faults(pipeline: SyntheticPipeline, pools: Sequence[AgentPool]) -> Iterator[ManifestError]:
    name = pipeline.metadata.name
    steps = [step.name for step in pipeline.spec.flow.steps]
    mine = [pool for pool in pools if pool.spec.pipeline_ref.name == name]
    seen: set[str] = set()
    for pool in pools:
        if pool.metadata.name in seen:
            yield pool.fault(
                ("metadata", "name"),
                f'there are several pools of the name "{pool.metadata.name}"',
                "give each its own name (several may serve one step)",
            )
        seen.add(pool.metadata.name)
        if pool.spec.pipeline_ref.name != name:
            yield pool.fault(
                ("spec", "pipelineRef", "name"),
                f'pipeline "{pool.spec.pipeline_ref.name}" does not exist',
                did_you_mean(pool.spec.pipeline_ref.name, [name]),
            )
        elif pool.step not in steps:
            yield pool.fault(
                ("spec", "step") if pool.spec.step else ("metadata", "name"),
                f'step "{pool.step}" does not exist in pipeline "{name}"',
                did_you_mean(pool.step, steps)
                + ("" if pool.spec.step else " (set spec.step where the pool has another name)"),
            )
    served = {pool.step for pool in mine}
    # A step that a misfit is probably meant for needs no line of its own.
    served |= {likeliest(pool.step, steps) or "" for pool in pools if not _fits(pool, name, steps)}
    for at, step in enumerate(steps):
        if step not in served:
            yield pipeline.fault(
                ("spec", "flow", "steps", at, "name"),
                f'no AgentPool serves step "{step}"',
                f'add an AgentPool named "{step}", or one with step: {step}',
                reason="PoolMissing",
            )


def _fits(pool: AgentPool, pipeline: str, steps: Sequence[str]) -> bool:
    return pool.spec.pipeline_ref.name == pipeline and pool.step in steps
