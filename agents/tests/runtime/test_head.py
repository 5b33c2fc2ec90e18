"""The head as a process of its own, without Ray."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from weft.data.plans import StoredPlans
from weft.runtime.head import HeadProcess
from weft.runtime.process import Place
from weft.runtime.succession import PlanRefused
from weft_api.load import load
from weft_api.plan import Plan

PIPELINE = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {name: quiet}
spec:
  source: {generate: {rows: 5}}
  output: {uri: ./out}
  flow: {entry: only, steps: [{name: only, next: [{to: $accept}]}]}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: only}
spec: {pipelineRef: {name: quiet}, agent: "weft.builtin:MetadataAgent"}
"""


async def test_a_head_that_waited_for_members_of_another_and_found_none_issues_rows(
    tmp_path: Path,
) -> None:
    # On a cluster no head knows whether it is the first.
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    plan = load([tmp_path / "pipeline.yaml"]).compile()
    async with _running(plan) as head:
        await _until(lambda: head.status().rows.in_flight == 5)


async def test_a_head_started_by_a_plan_that_was_refused_goes_on_by_the_one_before(
    tmp_path: Path,
) -> None:
    # The pod of a head that dies finds the newest plan mounted, whatever became of it.
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    plan = load([tmp_path / "pipeline.yaml"]).compile()
    fault = plan.flow.model_copy(update={"deadline": "row.no("})
    refused = plan.model_copy(update={"generation": plan.generation + 1, "flow": fault})
    mended = plan.model_copy(update={"generation": plan.generation + 2})
    async with _running(plan) as head:
        with pytest.raises(PlanRefused, match=r"row\.no\("):
            await head.update(refused)
    async with _running(refused) as head:
        await _until(lambda: head.status().rows.in_flight == 5)
        status = head.status()
        assert (status.phase, status.plan_generation) == ("Running", plan.generation)
        assert f"plan generation {refused.generation} was refused" in status.message
        await head.update(mended)
        assert head.status().plan_generation == mended.generation
        assert not head.status().message
    # One that no head has been handed while it ran says at once what is wrong with it.
    fault = plan.flow.model_copy(update={"deadline": "row.neither("})
    async with _running(plan.model_copy(update={"generation": 9, "flow": fault})) as head:
        await _until(lambda: head.phase == "Failed")


async def test_a_plan_that_was_refused_once_and_taken_later_holds(tmp_path: Path) -> None:
    """An agent that could not run by it may be there in another version by then."""
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    plan = load([tmp_path / "pipeline.yaml"]).compile()
    newer = plan.model_copy(update={"generation": plan.generation + 1, "seed": 7})
    StoredPlans(plan.output.uri, {}).refuse(newer, "only-0: no such module")
    async with _running(plan) as head:
        await head.update(newer)
    async with _running(newer) as head:
        await _until(lambda: head.status().rows.in_flight == 5)
        assert head.status().plan_generation == newer.generation
        assert not head.status().message


@contextlib.asynccontextmanager
async def _running(plan: Plan) -> AsyncIterator[HeadProcess]:
    head = HeadProcess(Place("head", "quiet", "token"), plan, grace=0.2)
    life = asyncio.create_task(head.run())
    try:
        await _until(lambda: head.phase != "Starting")
        yield head
    finally:
        head.stop()
        await life


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.05)
