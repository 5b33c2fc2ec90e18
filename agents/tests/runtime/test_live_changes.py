"""Plans that change under a running pipeline, on an embedded Ray."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from following import to_the_end, until_committed

from weft.cli.applying import apply
from weft.cli.refused import Refused
from weft.runtime.local import LocalRun
from weft_api.errors import ManifestErrors
from weft_api.load import load

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

AGENTS = '''
import asyncio
from weft import Agent, AgentConfig, ChatMessage

class Writes(Agent):
    """Takes its time, and writes down what the prompt says and how it is set."""

    class Config(AgentConfig):
        style: str = "plain"
        pause: float = 0.03

    produces = frozenset({"said", "styles"})

    async def handle(self, row, ctx):
        await asyncio.sleep(self.config.pause)
        said = ctx.render("say", row)
        row["said"] = [*row.get("said", []), said]
        row["styles"] = [*row.get("styles", []), self.config.style]
        row.messages.append(ChatMessage("assistant", said))
'''

MANIFESTS = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {{name: live}}
spec:
  source: {source}
  governance: {rules}
  output: {{uri: ./out, commitInterval: 300ms}}
  delivery: {{inFlightRows: 60, lease: 3s}}
  rollout: {{rowsInProgress: {policy}}}
  prompts: [{{name: say, text: "version {version}"}}]
  flow:
    entry: first
    steps:
    - {{name: first, next: [{{to: second}}]}}
    - {{name: second, next: [{{to: $accept, when: "size(row.said) >= {hops}"}}, {{to: first}}]}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: first}}
spec:
  pipelineRef: {{name: live}}
  agent: "live_agents:Writes"
  replicas: {replicas}
  concurrency: {concurrency}
  config: {{style: "{style}", pause: {pause}}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: second}}
spec: {{pipelineRef: {{name: live}}, agent: "live_agents:Writes", concurrency: 16}}
"""


class Folder:
    """The manifests as they stand at the moment."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self._settings = {
            "rows": 2000,
            "rules": "[]",
            "concurrency": 8,
            "pause": 0.03,
            "version": 1,
            "policy": "Keep",
            "hops": 4,
            "style": "plain",
            "replicas": 2,
            **settings,
        }
        (path / "live_agents.py").write_text(AGENTS)
        self.write()

    def write(self, **settings: Any) -> None:
        self._settings |= settings
        given = {"source": f"{{generate: {{rows: {self._settings['rows']}}}}}", **self._settings}
        (self.path / "pipeline.yaml").write_text(MANIFESTS.format(**given))

    def apply(self) -> None:
        assert apply((str(self.path),), None, None, 20.0) == 0


@pytest.fixture(autouse=True)
def own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))


def test_a_prompt_changed_ten_times_is_used_by_new_rows_and_no_row_mixes_versions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path)
    with LocalRun(load([tmp_path]).compile(), import_from=[tmp_path]) as run:
        until_committed(run, 40)
        pids = run.pids()
        for version in range(2, 12):
            folder.write(version=version, style=f"style {version}")
            folder.apply()
            until_committed(run, 40 + 40 * version)
        assert run.pids() == pids
        status = to_the_end(run)
    assert status.plan_generation == 11
    took = [float(found) for found in re.findall(r"after ([0-9.]+) s", capsys.readouterr().out)]
    assert len(took) == 10
    assert max(took) < 5
    rows = _rows(tmp_path)
    assert Counter(Counter(rows["row"]).values()) == {1: 2000}
    assert set(rows["status"]) == {"accepted"}
    plans = [{segment["plan"] for segment in provenance} for provenance in rows["provenance"]]
    assert all(len(found) == 1 for found in plans)
    # Each version was used, and what the agents did is what the provenance says of it.
    assert set().union(*plans) == set(range(1, 12))
    for found, messages in zip(plans, rows["messages"], strict=True):
        assert {message["content"] for message in messages} == {f"version {min(found)}"}


def test_rows_that_no_agent_has_begun_run_by_the_newest_version(tmp_path: Path) -> None:
    """All of them are on their way before the change: in the inbox of an agent that is slow."""
    folder = Folder(tmp_path, rows=60, hops=2, replicas=1, concurrency=1, pause=0.25)
    with LocalRun(load([tmp_path]).compile(), import_from=[tmp_path]) as run:
        for version in range(2, 5):
            until_committed(run, _committed(run) + 4)
            folder.write(version=version)
            folder.apply()
        to_the_end(run)
    rows = _rows(tmp_path)
    assert Counter(Counter(rows["row"]).values()) == {1: 60}
    plans = [{segment["plan"] for segment in provenance} for provenance in rows["provenance"]]
    assert all(len(found) == 1 for found in plans)
    assert set().union(*plans) == {1, 2, 3, 4}
    for found, messages in zip(plans, rows["messages"], strict=True):
        assert {message["content"] for message in messages} == {f"version {min(found)}"}


def test_a_rule_for_the_source_holds_for_rows_that_were_read_before_it_came(
    tmp_path: Path,
) -> None:
    lines = [f'{{"id": "{n}", "licence": "{"GPL" if n % 2 else "MIT"}"}}\n' for n in range(200)]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    source = "{dataset: {uri: rows.jsonl, idField: id}}"
    folder = Folder(tmp_path, source=source, hops=2, replicas=1, concurrency=2, pause=0.1)
    with LocalRun(load([tmp_path]).compile(), import_from=[tmp_path]) as run:
        until_committed(run, 10)
        allowed = "{column: licence, values: [MIT]}"
        folder.write(version=2, rules=f"[{{name: ours, action: reject, source: {allowed}}}]")
        folder.apply()
        to_the_end(run)
    rows = _rows(tmp_path)
    assert len(rows) == 200
    accepted = rows[rows["status"] == "accepted"]
    assert set(rows[rows["status"] == "rejected"]["reason"]) == {
        "source: governance rule ours: notAllowed 1"
    }
    for source_json, provenance in zip(accepted["source"], accepted["provenance"], strict=True):
        plans = {segment["plan"] for segment in provenance}
        # One on its way has not been held against the rule, so that it keeps its version.
        assert plans == {1} or (plans == {2} and "MIT" in source_json)
    assert {2} in [{segment["plan"] for segment in found} for found in accepted["provenance"]]


def test_rows_on_their_way_adopt_the_new_version_and_never_an_older_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path, policy="Adopt", hops=12, rows=400)
    with LocalRun(load([tmp_path]).compile(), import_from=[tmp_path]) as run:
        until_committed(run, 40)
        for version in range(2, 6):
            folder.write(version=version)
            folder.apply()
        to_the_end(run)
    rows = _rows(tmp_path)
    assert len(rows) == 400
    mixed = 0
    for provenance, messages in zip(rows["provenance"], rows["messages"], strict=True):
        plans = [segment["plan"] for segment in provenance]
        assert plans == sorted(plans)
        assert [message["content"] for message in messages] == [f"version {n}" for n in plans]
        mixed += plans[0] != plans[-1]
    assert mixed


def test_a_version_with_a_fault_is_refused_and_the_old_one_goes_on(tmp_path: Path) -> None:
    folder = Folder(tmp_path, rows=600)
    with LocalRun(load([tmp_path]).compile(), import_from=[tmp_path]) as run:
        until_committed(run, 20)
        folder.write(version="{{ row.", style="bad prompt")
        with pytest.raises(ManifestErrors) as caught:
            folder.apply()
        (line,) = map(str, caught.value.errors)
        assert "pipeline.yaml:" in line
        assert "prompt say, line 1" in line
        folder.write(version=2, replicas=3, rows=700)
        with pytest.raises(ManifestErrors) as caught:
            folder.apply()
        lines = list(map(str, caught.value.errors))
        assert [line.partition(": ")[2].partition(" cannot")[0] for line in lines] == [
            "spec.source.generate: generate",
            "spec.replicas: replicas",
        ]
        # What only the agents themselves can tell: they are asked before anything changes.
        folder.write(rows=600, replicas=2)
        plan = load([tmp_path]).compile(generation=2)
        pools = [pool.model_copy(update={"config": {"stile": "x"}}) for pool in plan.pools]
        refused = run.hand_over(plan.model_copy(update={"pools": pools}))
        assert "stile" in refused
        assert "no such setting" in refused
        assert run.status().plan_generation == 1  # type: ignore[union-attr]
        folder.apply()
        status = to_the_end(run)
    assert status.plan_generation == 2
    assert status.rows.accepted == 600


def test_a_head_that_starts_again_goes_on_by_the_plan_that_was_handed_over(tmp_path: Path) -> None:
    folder = Folder(tmp_path, rows=900)
    with LocalRun(load([tmp_path]).compile(), import_from=[tmp_path]) as run:
        until_committed(run, 20)
        folder.write(version=2)
        folder.apply()
        before = run.pids()
        os.kill(before["weft-head"], signal.SIGKILL)
        os.kill(before["first-0"], signal.SIGKILL)
        status = to_the_end(run)
    assert status.plan_generation == 2
    rows = _rows(tmp_path)
    assert Counter(Counter(rows["row"]).values()) == {1: 900}
    plans = [{segment["plan"] for segment in provenance} for provenance in rows["provenance"]]
    assert all(len(found) == 1 for found in plans)
    for found, messages in zip(plans, rows["messages"], strict=True):
        assert {message["content"] for message in messages} == {f"version {min(found)}"}
    # Another day: the same manifests are the same generation, others a new one.
    folder.write(version=2, rows=900)
    assert LocalRun(load([tmp_path]).compile()).numbered().generation == 2
    folder.write(version=3)
    assert LocalRun(load([tmp_path]).compile()).numbered().generation == 3


def test_apply_says_which_run_it_looked_for(tmp_path: Path) -> None:
    Folder(tmp_path)
    with pytest.raises(Refused) as caught:
        apply((str(tmp_path),), None, None, 1.0)
    assert caught.value.lines == [
        "apply: pipeline 'live' is not running on this machine: nothing runs here; start it with "
        "weft run"
    ]


def _rows(folder: Path) -> Any:
    return DeltaTable(folder / "out").to_pandas()


def _committed(run: LocalRun) -> int:
    status = run.status()
    return status.rows.accepted if status is not None else 0
