"""Divided rows on an embedded Ray: branches in processes of their own, which are killed."""

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

ROWS = 400
AGENTS = '''
import asyncio, random
from weft import Agent

class Solve(Agent):
    """Takes its time, more or less; every tenth row is large, and one branch of some leaves."""
    produces = frozenset({"mark"})

    async def handle(self, row, ctx):
        await asyncio.sleep(random.uniform(0.0, 0.1))
        large = 300_000 if row["index"] % 10 == 3 else 0
        row["mark"] = f"{row.id}.{ctx.branch}.{ctx.step}" + "x" * large
        if ctx.branch == 2 and row["index"] % 20 == 7:
            return "$reject"

class Join(Agent):
    produces = frozenset({"marks"})

    async def handle(self, row, ctx):
        await asyncio.sleep(0.02)
        row["marks"] = [b.row["mark"].rstrip("x") if b.arrived else b.end for b in ctx.branches]
'''
PIPELINE = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {{name: divided}}
spec:
  source: {{generate: {{rows: {rows}}}{late}}}
  output: {{uri: ./out, commitInterval: 300ms}}
  delivery: {{inFlightRows: 60, lease: 3s, maxAttempts: 2}}
  flow:
    entry: ask
    steps:
    - {{name: ask, fanOut: {{branches: [{{to: solve, count: 2}}, {{to: doubt}}], join: join}}}}
    - {{name: solve, next: [{{to: $reject, when: "false"}}, {{to: join}}]}}
    - {{name: doubt, next: [{{to: join}}]}}
    - {{name: join, next: [{{to: $accept}}]}}
---
"""
POOL = """
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: {name}}}
spec: {{pipelineRef: {{name: divided}}, agent: "{agent}", replicas: {replicas}, concurrency: 16}}
---
"""
POOLS = {
    "ask": ("weft.builtin:EchoAgent", 1),
    "solve": ("branch_agents:Solve", 2),
    "doubt": ("branch_agents:Solve", 1),
    "join": ("branch_agents:Join", 2),
}


def test_every_divided_row_is_joined_once_and_in_order_though_each_role_is_killed(
    tmp_path: Path,
) -> None:
    (tmp_path / "branch_agents.py").write_text(AGENTS)
    pools = [POOL.format(name=n, agent=a, replicas=r) for n, (a, r) in POOLS.items()]
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.format(rows=ROWS, late="") + "".join(pools))
    plan = load([tmp_path / "pipeline.yaml"]).compile()
    with LocalRun(plan, import_from=[tmp_path]) as run:
        for number, victim in enumerate(["join-0", "solve-1", "ask-0", "weft-head", "join-1"]):
            until_committed(run, 40 * (number + 1))
            os.kill(run.pids()[victim], signal.SIGKILL)
        status = to_the_end(run, patience=200)
    assert status.phase == "Succeeded", status
    rows = DeltaTable(tmp_path / "out").to_pandas()
    assert Counter(Counter(rows["id"]).values()) == {1: ROWS}
    assert set(rows["status"]) == {"accepted"}
    for row in rows.to_dict("records"):
        second = (
            f"{row['id']}.2.solve" if json.loads(row["source"])["index"] % 20 != 7 else "$reject"
        )
        expected = [f"{row['id']}.1.solve", second, f"{row['id']}.3.doubt"]
        assert json.loads(row["data"])["marks"] == expected
        hops = [(hop["step"], hop["hop"], hop["branch"]) for hop in row["provenance"]]
        assert hops == [
            ("ask", 0, 0),
            ("solve", 1, 1),
            ("solve", 1, 2),
            ("doubt", 1, 3),
            ("join", 2, 0),
        ]


def test_a_divided_row_that_is_late_is_rejected_once_wherever_its_branches_are(
    tmp_path: Path,
) -> None:
    """Most of them while they are divided: the branches take up to 100 ms, 60 ms are allowed."""
    late = ", deadline: \"row.index % 3 == 1 ? duration('60ms') : null\", onLate: Reject"
    (tmp_path / "branch_agents.py").write_text(AGENTS)
    pools = [POOL.format(name=n, agent=a, replicas=1) for n, (a, _) in POOLS.items()]
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.format(rows=150, late=late) + "".join(pools))
    with LocalRun(load([tmp_path / "pipeline.yaml"]).compile(), import_from=[tmp_path]) as run:
        status = to_the_end(run)
    assert status.phase == "Succeeded", status
    rows = DeltaTable(tmp_path / "out").to_pandas()
    assert Counter(Counter(rows["id"]).values()) == {1: 150}
    rejected = rows[rows["status"] == "rejected"]
    assert {json.loads(source)["index"] % 3 for source in rejected["source"]} == {1}
    told = r"step (ask|join): late: the deadline had passed \d+\.\d+ s before .*"
    assert rejected["reason"].str.fullmatch(told).all()
    # All branches have come to the join, those that did their work and those that were late.
    at_join = rejected[rejected["reason"].str.startswith("step join")]
    assert len(at_join) > 0
    for hops in at_join["provenance"]:
        assert sorted(hop["branch"] for hop in hops) == [0, 0, 1, 2, 3]
    assert (rows["status"] == "accepted").sum() >= 100
