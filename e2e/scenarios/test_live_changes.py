"""Prompts and tools change while rows flow: no pod is touched; rows say what they were made by."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from e2e.scenarios import pipelines
from e2e.scenarios.change_times import AgentsWatch, Applied, first_hops, plans_of, table_of
from e2e.scenarios.dataset import Dataset
from e2e.scenarios.kube import Object
from e2e.scenarios.space import Space
from e2e.scenarios.waiting import until

ROWS = 1200
CHANGES = 10
"""Of the prompt. The last ones are made in a ConfigMap that it refers to."""
IN_CONFIG_MAP = 8
TOOL_AFTER = 5
TOOL = {
    "name": "look_up",
    "description": "Looks a word up in the lexicon.",
    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    "simulated": {"result": {"type": "object", "properties": {"meaning": {"type": "string"}}}},
}
STEPS = [
    {
        "name": "drafter",
        "next": [{"to": "tools", "when": "has(row.tool_calls)"}, {"to": "$accept"}],
    },
    {"name": "tools", "next": [{"to": "drafter"}]},
]


def test_a_prompt_changed_ten_times_and_a_tool_added_reach_the_rows_and_no_pod(
    space: Space, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = pipelines.write_source(space.folder, ROWS)
    # One agent, so that rows are begun in the order in which they are issued.
    drafter = _pool("drafter", "ChatAgent", concurrency=8, latency="1s")
    tools = _pool("tools", "ToolAgent", concurrency=8, latency="50ms")
    space.kube.apply(_pipeline(1), drafter, tools)
    space.wait_rows("talk", 10)
    space.wait_phase("talk", "Running", 60)
    before = space.untouched("talk")

    changes: dict[int, Applied] = {}
    with AgentsWatch(space, "talk") as watch:
        for version in range(2, CHANGES + 2):
            if version - 1 <= IN_CONFIG_MAP:
                _change(space, changes, _prompts(version), _pipeline(version))
            else:
                _change(space, changes, _prompts(version))
            if version - 1 == TOOL_AFTER:
                _change(space, changes, _pipeline(version, tool=True))
        assert len(space.dataset().rows) < ROWS, "the run was over before all was changed"
        assert space.untouched("talk") == before
        # The rest is not waited for: more at once is a live change, too.
        space.kube.merge("ap", "drafter", {"spec": {"concurrency": 64}})
        space.wait_phase("talk", "Succeeded", 240)
    assert space.untouched("talk") == before

    dataset = space.dataset()
    dataset.assert_exactly(ids)
    plans = plans_of(space.folder / "out")
    _assert_provenance(dataset, {number: plan for number, (_, plan) in plans.items()})
    used = [hop["plan"] for hop in first_hops(dataset)]
    assert used == sorted(used), "a row was begun by an older version than one before it"
    assert set(changes) <= set(used), "a change was never seen in a row"
    taken = {number: at for number, (at, _) in plans.items()}
    with capsys.disabled():
        print(f"\n{max(watch.on_their_way)} rows on their way, 8 of them in the model's hands")
        print("\n".join(table_of(changes, taken, watch.reached, dataset)))


def _assert_provenance(dataset: Dataset, plans: dict[int, Object]) -> None:
    """Every row is made by one version from beginning to end, and what it is made of is that."""
    called = 0
    for row in dataset.rows:
        (number,) = {hop["plan"] for hop in row["provenance"]}
        plan = plans[number]
        (prompt,) = plan["prompts"]
        assert row["messages"][0]["content"] == prompt["text"].replace("{{ row.id }}", row["id"])
        # What follows a tool's answer goes on from the dialogue, which begins with the prompt.
        first = min(row["provenance"], key=lambda hop: hop["hop"])
        assert {c["prompt"] for c in first["models"]} == {f"draft@{prompt['version']}"}
        called += sum(len(hop["tools"]) for hop in row["provenance"])
        offered = [tool["function"]["name"] for tool in json.loads(row["tools"])]
        assert offered == [tool["name"] for tool in plan["tools"]]
    assert called, "the new tool was never called"


def _change(space: Space, changes: dict[int, Applied], *objects: Object) -> None:
    """Apply, and wait until a row is committed that was made by what has been applied."""
    newest = max(plans_of(space.folder / "out"))
    began = time.time()
    space.kube.apply(*objects)
    changes[newest + 1] = Applied(began, time.time())
    until(
        f"a row is made by plan generation {newest + 1}",
        lambda: any(hop["plan"] > newest for hop in first_hops(space.dataset())),
        60,
        seen=lambda: space.in_short("talk"),
    )


def _pipeline(version: int, *, tool: bool = False) -> Object:
    """The prompt stands in it, and for the last versions in a ConfigMap."""
    prompt: Object = {"name": "draft", "text": _text(version)}
    if version - 1 >= IN_CONFIG_MAP:
        prompt = {"name": "draft", "configMapKeyRef": {"name": "prompts", "key": "draft"}}
    return pipelines.pipeline(
        flow={"entry": "drafter", "steps": STEPS},
        prompts=[prompt],
        tools=[TOOL] if tool or version - 1 > TOOL_AFTER else [],
        delivery={"inFlightRows": 64, "lease": "5s"},
    )


def _prompts(version: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "prompts"},
        "data": {"draft": _text(version)},
    }


def _text(version: int) -> str:
    return f"Version {version}: write about {{{{ row.id }}}}."


def _pool(name: str, agent: str, *, concurrency: int, latency: str) -> Object:
    config: dict[str, Any] = {"prompt": "draft"} if name == "drafter" else {}
    pool = pipelines.pool(
        agent=f"weft.builtin:{agent}",
        concurrency=concurrency,
        config=config,
        engine={"simulator": {"slots": 64, "latency": {"median": latency}}},
    )
    return {**pool, "metadata": {"name": name}}
