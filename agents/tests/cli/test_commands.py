"""The commands around a run: quick, taught by --help, and readable."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import good_manifests
import msgspec
import pytest
from conftest import Weft

from weft.data.table import OutputTable
from weft.protocol.writer import Finished
from weft.row import ChatMessage, Row, ToolCall, encode_row
from weft.segment import ModelCall, Segment, ToolTrace, encode_segment

COMMANDS = ["run", "validate", "show", "export", "version"]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output with an accepted dialogue, a rejected row and a dead one."""
    dialogue = Row(
        "case-7",
        {"product": "lamp", "wish": "a refund"},
        {"verdict": "accept", "score": 9},
        [
            ChatMessage("user", "My lamp is broken."),
            ChatMessage("assistant", "", [ToolCall("c1", "lookup_order", '{"order": "LL-1"}')]),
            ChatMessage("tool", '{"state": "sent"}', tool_call_id="c1", name="lookup_order"),
            ChatMessage("assistant", "It is on its way."),
        ],
    )
    hop = Segment("drafter", "drafter", "drafter-0", "", "", 1, 0, 0, 100.0, 1.5)
    hop.models = [ModelCall("tiny", 1.2, 300, 40, seed=5, prompt="ask@12ab", message=1)]
    hop.tools = [ToolTrace("c1", "lookup_order", '{"order": "LL-1"}', '{"state": "sent"}', 0.02)]
    rows = [
        Finished(0, "dead", "rows.jsonl:1: not JSON", encode_row(Row("0", {})), [], 1, 1),
        Finished(1, "accepted", "", encode_row(dialogue), [encode_segment(hop)], 1, 1),
        Finished(2, "rejected", "too short", encode_row(Row("case-8", {})), [], 1, 1),
    ]
    path = tmp_path / "out"
    table = OutputTable.open(str(path), {}, pipeline="answers")
    table.claim(0)
    table.commit(0, rows)
    table.close()
    return path


def test_a_row_is_shown_as_a_dialogue_with_its_path(output: Path, weft: Weft) -> None:
    result = weft("show", output)
    assert (result.code, result.err) == (0, "")
    told = [
        *("case-7", "accepted", "lamp", "My lamp is broken.", 'lookup_order(order: "LL-1")'),
        *("state", "sent", "It is on its way.", "score", "9"),
        *("drafter-0", "1.5 s", "tiny", "340", "lookup_order"),
    ]
    at = 0
    for wanted in told:
        at = result.out.find(wanted, at)
        assert at >= 0, f"{wanted} is not where it should be in {result.out}"


def test_the_whole_path_names_prompt_and_seed(output: Path, weft: Weft) -> None:
    shown = weft("show", output, "case-7", "--path").out
    assert "300 + 40 tokens, prompt ask@12ab, seed 5, message 1" in shown


def test_a_row_is_found_by_status_and_by_its_place(output: Path, weft: Weft) -> None:
    assert "rows.jsonl:1: not JSON" in weft("show", output, "--status", "dead").out
    assert "too short" in weft("show", output, "2").out


def test_a_row_as_json_is_one_line(output: Path, weft: Weft) -> None:
    result = weft("show", output, "case-7", "--json")
    [line] = result.out.splitlines()
    row = json.loads(line)
    assert row["source"] == {"product": "lamp", "wish": "a refund"}
    assert row["messages"][1]["tool_calls"][0]["function"]["name"] == "lookup_order"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["OUT", "case-9"], ["no row 'case-9'; did you mean \"case-8\"?"]),
        (["OUT", "zebra"], ["1 accepted, 1 rejected, 1 dead", "with ids such as"]),
        (["OUT", "case-7", "--status", "dead"], ["no dead row 'case-7'"]),
        (["OUT/nowhere"], ["holds no output of Weft", "name the folder"]),
    ],
    ids=["nearly an id", "no id", "another status", "no output"],
)
def test_what_is_not_there_is_told_in_one_line(
    args: list[str], says: list[str], output: Path, weft: Weft
) -> None:
    result = weft("show", *(arg.replace("OUT", str(output)) for arg in args))
    assert result.code == 2
    [line] = result.lines
    for wanted in says:
        assert wanted in line


def test_an_export_is_told_by_its_suffix(output: Path, tmp_path: Path, weft: Weft) -> None:
    dest = tmp_path / "rows.jsonl"
    result = weft("export", output, dest)
    assert (result.code, result.err) == (0, "")
    assert f"1 accepted rows, 0.0 MB: {dest}" in result.out
    [line] = dest.read_text().splitlines()
    assert [each["role"] for each in msgspec.json.decode(line)["messages"]] == [
        *("user", "assistant", "tool", "assistant")
    ]
    [line] = weft("export", output, dest).lines
    assert "exists already" in line
    assert weft("export", output, dest, "--overwrite").code == 0
    [line] = weft("export", output, tmp_path / "rows.xlsx").lines
    assert "add --format" in line


def test_a_run_that_has_nothing_to_do_says_so_without_starting(
    tmp_path: Path, weft: Weft, monkeypatch: pytest.MonkeyPatch
) -> None:
    good_manifests.write(tmp_path)
    table = OutputTable.open(str(tmp_path / "out"), {}, pipeline="answers")
    table.claim(0)
    body = encode_row(Row("q", {}))
    table.commit(0, [Finished(n, "accepted", "", body, [], 1, 1) for n in range(2)])
    monkeypatch.setattr("weft.cli.running._drive", lambda *_: pytest.fail("the run was started"))
    limited = weft("run", tmp_path, "--limit", "2")
    assert "All 2 rows were done already" in limited.out
    table.commit(0, [Finished(2, "rejected", "", body, [], 1, 1)])
    table.close()
    result = weft("run", tmp_path, "--json")
    assert json.loads(result.out)["phase"] == "Succeeded"
    assert json.loads(result.out)["rows"]["resumed"] == 3


def test_an_output_of_another_pipeline_is_left_alone(tmp_path: Path, weft: Weft) -> None:
    good_manifests.write(tmp_path)
    OutputTable.open(str(tmp_path / "out"), {}, pipeline="others").close()
    result = weft("run", tmp_path)
    assert result.code == 2
    [line] = result.lines
    assert "pipeline.yaml:11: spec.output.uri" in line
    assert "is the output of the pipeline 'others', not of 'answers'" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(command: str, weft: Weft) -> None:
    # Once as usage, and at least once as an example.
    assert weft(command, "--help").out.count(f"weft {command}") >= 2


def test_help_and_validate_load_neither_ray_nor_other_heavy_packages(tmp_path: Path) -> None:
    good_manifests.write(tmp_path)
    script = (
        "import sys\nfrom weft.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as ended: assert ended.code == 0\n"
        "print('loaded', sorted({'ray', 'deltalake', 'aiohttp', 'typer', 'torch', 'rich'}"
        " & set(sys.modules)))"
    )
    for args in (["--help"], ["validate", str(tmp_path)]):
        done = subprocess.run(
            [sys.executable, "-c", script, *args], capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith("loaded []\n"), done.stdout


def test_a_fault_of_weft_itself_is_one_line_and_a_traceback_on_demand(
    tmp_path: Path, weft: Weft, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr("weft.cli.checks.check", broken)
    good_manifests.write(tmp_path)
    result = weft("validate", tmp_path)
    assert result.code == 1
    [line] = result.lines
    assert line.startswith("unexpected ZeroDivisionError: by zero; ")
    with pytest.raises(ZeroDivisionError):
        weft("validate", tmp_path, "--traceback")
