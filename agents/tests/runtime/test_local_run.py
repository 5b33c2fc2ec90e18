"""A whole pipeline on an embedded Ray, with its processes killed under it."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from deltalake import DeltaTable
from following import to_the_end, until_committed

from weft.runtime.local import LocalRun
from weft_api.load import load

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

AGENTS = '''
import asyncio
from weft import Agent, ChatMessage

class Slow(Agent):
    """Takes its time, and writes down the steps that the row has come through."""
    produces = frozenset({"steps"})

    async def handle(self, row, ctx):
        await asyncio.sleep(0.03)
        row["steps"] = [*row.get("steps", []), f"{ctx.step}{ctx.hop}"]
        row.messages.append(ChatMessage("assistant", f"hop {ctx.hop} in {ctx.step}"))
        if row["index"] % 100 == 3 and ctx.hop == 0:
            row["large"] = "x" * 600_000
        if row["index"] % 50 == 7:
            raise ValueError("this row is poison")
'''

PIPELINE = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {{name: attacked}}
spec:
  source: {{generate: {{rows: {rows}}}}}
  output: {{uri: ./out, commitInterval: 300ms}}
  delivery: {{inFlightRows: 60, lease: 3s, maxAttempts: 2}}
  flow:
    entry: first
    steps:
    - {{name: first, next: [{{to: second}}]}}
    - {{name: second, next: [{{to: $accept, when: "size(row.steps) >= 4"}}, {{to: first}}]}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: first}}
spec: {{pipelineRef: {{name: attacked}}, agent: "slow_agents:Slow", replicas: 2, concurrency: 8}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: second}}
spec: {{pipelineRef: {{name: attacked}}, agent: "slow_agents:Slow", concurrency: 16}}
"""


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    (tmp_path / "slow_agents.py").write_text(AGENTS)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.format(rows=600))
    return tmp_path


def test_every_row_is_committed_once_though_each_role_is_killed(manifests: Path) -> None:
    plan = load([manifests / "pipeline.yaml"]).compile()
    victims = ["first-0", "second-0", "writer-0", "weft-head"]
    with LocalRun(plan, import_from=[manifests]) as run:
        for number, victim in enumerate(victims):
            until_committed(run, 40 * (number + 1))
            os.kill(run.pids()[victim], signal.SIGKILL)
        status = to_the_end(run)
    assert status.phase == "Succeeded", status
    rows = DeltaTable(manifests / "out").to_pandas()
    assert Counter(Counter(rows["id"]).values()) == {1: 600}
    assert Counter(rows["status"]) == {"accepted": 588, "dead": 12}
    assert status.rows.accepted == 588
    assert status.rows.dead == 12
    large = rows["data"].map(json.loads).map(lambda data: len(data.get("large", "")))
    assert Counter(large) == {600_000: 6, 0: 594}
    dead = rows[rows["status"] == "dead"]
    assert all("ValueError: this row is poison (attempt 2 of 2)" in text for text in dead["reason"])


def test_a_run_that_is_stopped_goes_on_where_it_was(manifests: Path) -> None:
    plan = load([manifests / "pipeline.yaml"]).compile()
    with LocalRun(plan, import_from=[manifests]) as run:
        before = until_committed(run, 50)
    with LocalRun(plan, import_from=[manifests]) as run:
        status = to_the_end(run)
    assert status.rows.resumed >= before.rows.accepted
    assert status.rows.accepted + status.rows.dead == 600
    rows = DeltaTable(manifests / "out").to_pandas()
    assert Counter(Counter(rows["id"]).values()) == {1: 600}
