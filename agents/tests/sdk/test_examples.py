"""The examples, row by row in this process, with the simulator that their manifests name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from weft.row import Row
from weft.testing import Rows, Scripted, Walked, run_row
from weft_api.load import load
from weft_api.plan import Plan

EXAMPLES = Path(__file__).parents[3] / "examples"
SUPPORT = EXAMPLES / "support"


def fast(plan: Plan) -> Plan:
    """The plan with simulators that answer at once."""
    made = plan.model_dump(mode="json", by_alias=True)
    for pool in made["pools"]:
        if pool["engine"]:
            pool["engine"]["simulator"]["latency"]["median"] = "0ms"
    return Plan.model_validate_json(json.dumps(made), by_name=False)


def scenarios() -> list[dict[str, Any]]:
    lines = (SUPPORT / "scenarios.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


async def walk(plan: Plan, sources: list[dict[str, Any]]) -> list[Walked]:
    async with Rows(plan) as rows:
        return [
            await rows.run(Row(source["id"], source), number=number)
            for number, source in enumerate(sources)
        ]


def test_the_scenarios_are_what_their_script_makes() -> None:
    done = subprocess.run(
        [sys.executable, str(SUPPORT / "make_scenarios.py")], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (SUPPORT / "scenarios.jsonl").read_bytes()


def test_the_scenarios_are_many_and_varied() -> None:
    rows = scenarios()
    assert len(rows) >= 500
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({(r["problem"], r["person"], r["manner"]) for r in rows}) == len(rows)
    assert len({row["details"] for row in rows}) > 300
    for column, least in (("problem", 60), ("area", 8), ("person", 20), ("mood", 10)):
        counted = Counter(row[column] for row in rows)
        assert len(counted) >= least
        assert max(counted.values()) < len(rows) / 3
    assert all("{" not in value for row in rows for value in row.values() if isinstance(value, str))
    assert (SUPPORT / "scenarios.jsonl").stat().st_size < 1_000_000


async def test_every_support_row_ends_and_reads_as_a_dialogue() -> None:
    ended = await walk(fast(load([SUPPORT]).compile()), scenarios())
    ends = Counter(walked.end for walked in ended)
    assert ends["$dead"] == 0
    assert ends["$accept"] > 450
    assert ends["$reject"] > 0
    assert (
        sum(walked.row["tool_call_count"] > 0 for walked in ended if walked.end == "$accept") > 300
    )
    assert any("tools" in walked.path for walked in ended)
    assert any(walked.path.count("validator") > 1 for walked in ended)
    for walked in ended:
        spoken = [m for m in walked.row.messages if m.role != "tool" and not m.tool_calls]
        roles = [m.role for m in spoken]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(len(m.content) > 15 for m in spoken)
        assert spoken[0].content.count(walked.row.source["details"]) == 1
        called = {call.id for m in walked.row.messages for call in m.tool_calls}
        answered = [m.tool_call_id for m in walked.row.messages if m.role == "tool"]
        assert set(answered) == called
        assert len(answered) == len(called)


async def test_a_support_row_comes_out_the_same_when_it_runs_again() -> None:
    plan = fast(load([SUPPORT]).compile())
    once, again = [await walk(plan, scenarios()[:20]) for _ in range(2)]
    assert [w.row for w in once] == [w.row for w in again]
    assert [w.path for w in once] == [w.path for w in again]


async def test_every_model_call_names_its_prompt_and_every_tool_call_its_version() -> None:
    for walked in await walk(fast(load([SUPPORT]).compile()), scenarios()[:20]):
        for segment in walked.segments:
            for call in segment.models:
                assert "@" in call.prompt
                assert call.model == "simulator"
            for trace in segment.tools:
                assert trace.version
                assert not trace.error
                assert trace.message > 0


QUESTION = {"id": "q", "question": "What is 6 times 3?", "answer": "6 * 3 = <<6*3=18>>18\n#### 18"}


@pytest.mark.parametrize(
    ("replies", "end", "path"),
    [
        (["6 * 3 = 18\n#### 18"], "$accept", ["drafter", "validator"]),
        (["#### 17", "#### 18"], "$accept", ["drafter", "validator"] * 2),
        (["#### 1", "#### 2", "#### 3"], "$reject", ["drafter", "validator"] * 3),
        (["I do not know.", "#### 18"], "$accept", ["drafter", "validator"] * 2),
    ],
)
async def test_a_solution_is_kept_only_where_its_number_is_right(
    replies: list[str], end: str, path: list[str]
) -> None:
    plan = load([EXAMPLES / "gsm8k"]).compile()
    engine = Scripted(*replies)
    walked = await run_row(plan, QUESTION, engines={"drafter": engine})
    assert (walked.end, walked.path) == (end, path)
    assert [m.role for m in walked.row.messages] == ["user", "assistant"]
    assert all("18" not in m.content for asked in engine.asked for m in asked.messages[2:-1]
               if m.role == "user")  # fmt: skip
    assert bool(walked.reason) is (end == "$reject")
