"""Runs that end by their target or a budget, on an embedded Ray."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from following import to_the_end, until

from weft.runtime.local import LocalRun
from weft_api.load import load

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

AGENTS = """
import asyncio
from weft import Agent

class Judges(Agent):
    produces = frozenset({"good"})

    async def handle(self, row, ctx):
        await asyncio.sleep(0.02)
        row["good"] = row["index"] % 3 != 1
"""

MANIFESTS = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {{name: limited}}
spec:
  source: {{generate: {{rows: {rows}}}}}
  output: {{uri: ./out, commitInterval: 200ms{output}}}
  delivery: {{inFlightRows: 40, lease: 3s, writers: 2}}
  {more}
  prompts: [{{name: ask, text: "Number {{{{ row.index }}}}?"}}]
  flow:
    entry: judge
    steps:
    - {{name: judge, next: [{{to: $reject, when: "!row.good"}}, {{to: {then}}}]}}
    - {{name: ask, next: [{{to: $accept}}]}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: judge}}
spec:
  pipelineRef: {{name: limited}}
  agent: "judging_agents:Judges"
  concurrency: 8
  replicas: 2
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: ask}}
spec:
  pipelineRef: {{name: limited}}
  agent: "weft.builtin:ChatAgent"
  config: {{prompt: ask}}
  engine: {{simulator: {{latency: {{median: 10ms}}}}}}
"""


def _plan(folder: Path, **settings: Any) -> Any:
    (folder / "judging_agents.py").write_text(AGENTS)
    text = MANIFESTS.format(**{"rows": 3000, "output": "", "more": "", "then": "ask"} | settings)
    (folder / "pipeline.yaml").write_text(text)
    return load([folder]).compile()


@pytest.fixture(autouse=True)
def own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_exactly_the_target_is_accepted_though_each_role_is_killed_and_the_run_is_stopped(
    tmp_path: Path,
) -> None:
    plan = _plan(tmp_path, output=", targetRows: 301")
    with LocalRun(plan, import_from=[tmp_path]) as run:
        for accepted, victim in ((20, "judge-0"), (60, "writer-1"), (100, "weft-head")):
            until(run, lambda status, n=accepted: status.rows.accepted >= n)  # type: ignore[misc]
            os.kill(run.pids()[victim], signal.SIGKILL)
        until(run, lambda status: status.rows.accepted >= 180)
    with LocalRun(plan, import_from=[tmp_path]) as run:
        status = to_the_end(run)
    assert (status.phase, status.reason) == ("Succeeded", "TargetReached")
    assert status.message == "targetRows: 301 rows are accepted"
    assert status.rows.accepted == 301
    rows = DeltaTable(tmp_path / "out").to_pandas()
    assert Counter(rows["status"])["accepted"] == 301
    # Not one row was begun that was not needed: two of three are good, so it took the first 451.
    assert sorted(rows["row"]) == list(range(451))


def test_rows_that_only_the_target_holds_back_do_not_wait_for_the_writers_interval(
    tmp_path: Path,
) -> None:
    plan = _plan(tmp_path, output=", targetRows: 30")
    slow = plan.output.model_copy(update={"commit_interval": 3600.0})
    with LocalRun(plan.model_copy(update={"output": slow}), import_from=[tmp_path]) as run:
        status = to_the_end(run)
    assert (status.phase, status.reason) == ("Succeeded", "TargetReached")
    assert status.rows.accepted == 30


def test_a_source_with_too_few_good_rows_fails_by_name(tmp_path: Path) -> None:
    plan = _plan(tmp_path, rows=30, output=", targetRows: 21")
    with LocalRun(plan, import_from=[tmp_path]) as run:
        status = to_the_end(run)
    assert (status.phase, status.reason) == ("Failed", "TargetMissed")
    assert "20 of 21 rows are accepted" in status.message
    assert status.rows.pending == 0


def test_a_budget_ends_the_run_in_order_and_a_raised_one_goes_on(tmp_path: Path) -> None:
    budget = 'budget: {{tokens: {0}, prices: [{{model: simulator, completion: "1000"}}]}}'
    plan = _plan(tmp_path, rows=3000, more=budget.format(3000))
    with LocalRun(plan, import_from=[tmp_path]) as run:
        status = to_the_end(run)
    assert (status.phase, status.reason) == ("Stopped", "TokenBudgetSpent")
    assert "of 3,000 tokens used" in status.message
    assert "; raise spec.budget.tokens" in status.message
    assert (status.rows.in_flight, status.rows.committing) == (0, 0)
    used = status.tokens.prompt + status.tokens.completion
    # Where 40 rows might be on their way, which take more than that together. No more are begun
    # than it bears, so that it is missed by a few rows' worth, of some 60 tokens, and no more.
    assert used == pytest.approx(3000, abs=400)
    assert status.cost is not None
    assert float(status.cost) == pytest.approx(status.tokens.completion / 1000, rel=0.05)
    made = status.rows.accepted + status.rows.rejected
    assert 0 < made < 3000
    rows = DeltaTable(tmp_path / "out").to_pandas()
    assert len(rows) == made
    # All that was used is told of, to the last row.
    assert rows["promptTokens"].sum() + rows["completionTokens"].sum() == used

    with LocalRun(plan, import_from=[tmp_path]) as run:
        again = to_the_end(run)
    assert again.reason == "TokenBudgetSpent"
    assert again.rows.accepted + again.rows.rejected == made

    plan = _plan(tmp_path, rows=3000, more=budget.format(10**9))
    with LocalRun(plan, import_from=[tmp_path]) as run:
        final = to_the_end(run)
    assert final.phase == "Succeeded"
    assert final.rows.accepted == 2000
    assert final.tokens.completion > status.tokens.completion


def test_a_run_that_is_drained_ends_stopped(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    with LocalRun(plan, import_from=[tmp_path]) as run:
        until(run, lambda status: status.rows.accepted >= 10)
        run.drain()
        status = to_the_end(run)
    assert (status.phase, status.reason) == ("Stopped", "DrainRequested")
    assert not status.finished
    assert (status.rows.in_flight, status.rows.committing) == (0, 0)


def test_too_many_rejections_end_the_run_as_failed(tmp_path: Path) -> None:
    plan = _plan(tmp_path, more="stopOn: {rejectionRate: 0.2, afterRows: 50}")
    with LocalRun(plan, import_from=[tmp_path]) as run:
        status = to_the_end(run)
    assert (status.phase, status.reason) == ("Failed", "RejectionRateTooHigh")
    assert status.rows.pending
