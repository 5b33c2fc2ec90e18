"""What concerns one row ends as a dead letter that says why; the other rows go on, and the run
succeeds. One run on a real Ray shows them all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from conftest import Result, weft_process

from weft.cli.stored import Stored
from weft.runtime.status import Status

MANIFESTS = """\
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {name: bad-rows}
spec:
  source: {dataset: {uri: rows.jsonl, idField: id}}
  output: {uri: out, commitInterval: 500ms}
  flow:
    entry: bad
    maxHops: 5
    steps:
    - name: bad
      next:
      - {to: bad, when: "row.does == 'loops'"}
      - {to: $reject, when: "row.does == 'is rejected'"}
      - {to: $accept}
  delivery: {maxAttempts: 2, handlerTimeout: 2s}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: bad}
spec:
  pipelineRef: {name: bad-rows}
  agent: answers_agents:Bad
"""

DEAD = {
    "raises": ["step bad", "ValueError: the order has no number", "attempt 2 of 2"],
    "returns an unknown step": ["returned `judg`", "flow.steps[bad].next does not name", "`bad`"],
    "returns no name": ["step `bad` returned a int", "None or the name of a step"],
    "loops": ["flow.maxHops 5", "raise maxHops"],
    "leaves what cannot be stored": ["step bad", "object"],
    "hangs": ["not done after 2 s", "delivery.handlerTimeout"],
    "asks without an engine": ["this pool has no engine", "spec.engine"],
    "asks for a prompt that is not there": ["no prompt `nowhere`"],
}
GOOD = 20


def rows() -> str:
    """The bad ones, line 17 that is no JSON, an id that is there twice, one without an id, and
    enough good ones."""
    lines = [json.dumps({"id": f"good {n}", "does": "well"}) for n in range(GOOD)]
    lines += [json.dumps({"id": does, "does": does}) for does in DEAD]
    lines.append(json.dumps({"id": "is rejected", "does": "is rejected"}))
    lines.append(json.dumps({"id": "good 3", "does": "well"}))
    lines.append(json.dumps({"id": None, "does": "well"}))
    lines.insert(16, '{"id": "cut off", "does": ')
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad-rows")
    (folder / "pipeline.yaml").write_text(MANIFESTS)
    (folder / "rows.jsonl").write_text(rows())
    shutil.copy(Path(__file__).with_name("answers_agents.py"), folder)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    return weft_process("run", folder, "--json")


@pytest.fixture(scope="module")
def stored(folder: Path, result: Result) -> Stored:
    return Stored(str(folder / "out"))


@pytest.mark.ray
@pytest.mark.timeout(240)
def test_bad_rows_neither_fail_the_run_nor_get_lost(result: Result, stored: Stored) -> None:
    assert (result.code, result.err) == (0, "")
    final = msgspec.json.decode(result.out.splitlines()[-1], type=Status)
    assert final.phase == "Succeeded"
    assert final.rows.total == len(rows().splitlines())
    expected = {"accepted": GOOD, "rejected": 1, "dead": len(DEAD) + 3}
    assert stored.counts() == expected
    assert sum(expected.values()) == final.rows.total


@pytest.mark.ray
@pytest.mark.timeout(240)
@pytest.mark.parametrize("does", DEAD)
def test_an_agent_that_misbehaves_leaves_a_dead_letter_that_says_how(
    does: str, stored: Stored
) -> None:
    row = stored.by_id(does)
    assert row is not None
    assert row["status"] == "dead"
    assert "\n" not in row["reason"]
    assert "Traceback" not in row["reason"]
    for wanted in DEAD[does]:
        assert wanted in row["reason"]
    assert row["source"]["does"] == does


@pytest.mark.ray
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        (16, ["rows.jsonl:17", "not JSON"]),
        (30, ["rows.jsonl:31", "id 'good 3' is there already, in row 3"]),
        (31, ["rows.jsonl:32", "no id"]),
    ],
    ids=["no JSON", "an id that is there twice", "no id"],
)
def test_a_line_that_is_no_row_leaves_a_dead_letter_with_file_and_line(
    place: int, wanted: list[str], stored: Stored
) -> None:
    # By its place: what is no row has no id of its own.
    row = stored.by_place(place)
    assert row is not None
    assert row["status"] == "dead"
    for each in wanted:
        assert each in row["reason"]


@pytest.mark.ray
@pytest.mark.timeout(240)
def test_the_summary_groups_the_reasons(folder: Path, stored: Stored) -> None:
    again = weft_process("run", folder)
    assert again.code == 0
    assert f"All {sum(stored.counts().values())} rows were done already" in again.out
    assert "11 rows are dead:" in again.out
    assert again.out.count(" × ") == 4
    assert "8 × other reasons" in again.out
    assert "--status dead" in again.out
