"""Exports, read back by the programs that people train and analyse with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import duckdb
import fsspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from finished_rows import LOOKUP, batch, dialogue, finished, trace

from weft.data import export as export_module
from weft.data.errors import ExportError, OutputError
from weft.data.export import ExportFormat, export
from weft.data.table import OutputTable
from weft.protocol.writer import Finished
from weft.row import ChatMessage, Row, encode_row
from weft.segment import encode_segment

FORMATS: list[ExportFormat] = ["jsonl", "parquet", "huggingface"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def output(tmp_path: Path) -> str:
    table = OutputTable.open(str(tmp_path / "out"), {}, pipeline="support")
    table.claim(0)
    table.commit(0, batch(range(20)))
    table.commit(0, batch(range(20, 30)) + batch(range(30, 33), "rejected"))
    table.commit(0, batch(range(33, 35), "dead"))
    table.close()
    return str(tmp_path / "out")


def written(at: Path, rows: list[Row], status: str = "accepted") -> str:
    table = OutputTable.open(str(at), {}, pipeline="support")
    table.claim(0)
    finished_rows = [
        Finished(n, status, "", encode_row(row), [encode_segment(s) for s in trace(n)], 1, 1)
        for n, row in enumerate(rows)
    ]
    # One commit a row, so that no file knows the types of the others.
    for row in finished_rows:
        table.commit(0, [row])
    table.close()
    return str(at)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_jsonl_has_the_form_that_fine_tuning_takes(output: str, tmp_path: Path) -> None:
    done = export(output, str(tmp_path / "a.jsonl"), "jsonl")
    rows = lines(tmp_path / "a.jsonl")
    assert done.rows == len(rows) == 30
    assert done.bytes == (tmp_path / "a.jsonl").stat().st_size
    assert done.files == [str(tmp_path / "a.jsonl")]
    assert done.survey.unpaired == 0
    first, row = dialogue(0), rows[0]
    assert row["id"] == "ticket-0"
    assert row["tools"] == [LOOKUP]
    assert {name: row[name] for name in first.data} == first.data
    assert {name: row[name] for name in first.source} == first.source
    user, asking, answer, reply = row["messages"]
    assert set(user) == set(reply) == {"role", "content"}
    (call,) = asking["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"order": "0"}
    assert (call["type"], call["id"]) == ("function", answer["tool_call_id"])
    assert answer["name"] == call["function"]["name"]


@pytest.mark.parametrize("format", FORMATS)
def test_pandas_datasets_and_duckdb_read_it(
    output: str, tmp_path: Path, format: ExportFormat
) -> None:
    place = tmp_path / {"jsonl": "a.jsonl", "parquet": "a.parquet", "huggingface": "a"}[format]
    export(output, str(place), format)
    expected = sorted(f"ticket-{n}" for n in range(30))
    files = str(place / "data" / "*.parquet") if format == "huggingface" else str(place)

    if format == "jsonl":
        frame = pd.read_json(place, lines=True)
        loaded = datasets.load_dataset("json", data_files=files, split="train")
    elif format == "parquet":
        frame = pd.read_parquet(place)
        loaded = datasets.load_dataset("parquet", data_files=files, split="train")
    else:
        frame = pd.read_parquet(place / "data")
        loaded = datasets.load_dataset(str(place), split="train")
    assert sorted(frame["id"]) == expected
    assert sorted(loaded["id"]) == expected
    assert loaded[0]["messages"][1]["tool_calls"][0]["function"]["name"] == "lookup_order"
    assert loaded[0]["score"] == 0

    read = "read_json_auto" if format == "jsonl" else "read_parquet"
    asked = duckdb.sql(
        f"select count(*), count(distinct id), sum(score), max(messages[1].role) "
        f"from {read}('{files}')"
    )
    assert asked.fetchall() == [(30, 30, 135, "user")]


def test_the_card_says_how_each_column_came_to_be(output: str, tmp_path: Path) -> None:
    export(output, str(tmp_path / "set"), "huggingface")
    text = (tmp_path / "set" / "README.md").read_text()
    (shard,) = (tmp_path / "set" / "data").iterdir()
    mark = shard.stem.removeprefix("train-00000-")
    _, header, body = text.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "pretty_name": "support",
        "tags": ["synthetic", "weft", "simulated"],
        "size_categories": ["n<1K"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": f"data/train-*-{mark}.parquet"}],
            }
        ],
    }
    assert "> **Simulated.**" in body
    assert "30 accepted rows, made by the Weft pipeline `support`" in body
    assert "The whole run: 30 accepted, 3 rejected, 2 dead." in body
    assert "9,000 of prompts, 1,800 of completions" in body
    assert "| `verdict` | `string` | written by step `validator` (pool `validator`) |" in body
    assert "| `score` | `int64` | written by step `metadata` (pool `metadata`) |" in body
    assert "| `product` | `string` | column of the source |" in body
    assert "assistant messages by step `drafter` (`simulator`)" in body
    assert "tool messages by step `tools` (`lookup_order`)" in body
    assert (
        '| `drafter` | `simulator` | `drafter@0123456789ab` | `{"temperature":0.9}` | 30 |' in body
    )
    assert "| `tools` | `tools` | `a1b2c3` | `registry.example/agents:1.4.0` | 30 |" in body
    assert "| `lookup_order` | `tools` | 30 |" in body


def test_a_real_models_dataset_is_not_called_simulated(tmp_path: Path) -> None:
    table = OutputTable.open(str(tmp_path / "out"), {}, pipeline="support")
    table.claim(0)
    row = finished(1)
    segments = trace(1)
    for segment in segments:
        for call in segment.models:
            call.model = "meta-llama/Llama-3.1-8B"
    row.segments = [encode_segment(segment) for segment in segments]
    table.commit(0, [row])
    export(str(tmp_path / "out"), str(tmp_path / "set"), "huggingface")
    text = (tmp_path / "set" / "README.md").read_text()
    assert "imulated" not in text
    assert "`meta-llama/Llama-3.1-8B`" in text


def test_rejected_rows_come_with_their_reason(output: str, tmp_path: Path) -> None:
    export(output, str(tmp_path / "a.jsonl"), "jsonl", status="rejected")
    rows = lines(tmp_path / "a.jsonl")
    assert [row["reason"] for row in rows] == ["because it was rejected"] * 3
    export(output, str(tmp_path / "set"), "huggingface", status="dead")
    assert (
        "| `reason` | `string` | why the row was dead |"
        in (tmp_path / "set" / "README.md").read_text()
    )


def test_columns_of_any_types_can_be_exported(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [
        {"n": 1, "mixed": 1, "list": [], "deep": {"a": {"b": 1}}, "empty": {}, "none": None},
        {"n": 2.5, "mixed": "x", "list": ["a"], "deep": {"a": {"c": [None]}}, "empty": {}},
        {"n": 1 << 60, "mixed": [1], "list": [], "deep": {}, "big": (1 << 64) - 1, "bool": True},
        {"list": None, "mixed": {"a": 1}, "none": None, "big": -1, "nan": float("nan")},
        {"keys": {f"k{n}": n for n in range(100)}},
    ]
    uri = written(tmp_path / "out", [Row(str(n), {}, data) for n, data in enumerate(odd)])
    export(uri, str(tmp_path / "a.jsonl"), "jsonl")
    for row, data in zip(lines(tmp_path / "a.jsonl"), odd, strict=True):
        kept = {name: value for name, value in data.items() if name != "nan"}
        assert {name: row[name] for name in kept} == kept
    export(uri, str(tmp_path / "set"), "huggingface")
    loaded = datasets.load_dataset(str(tmp_path / "set"), split="train")
    by_id = {row["id"]: row for row in loaded}
    assert [by_id[str(n)]["n"] for n in range(5)] == [1.0, 2.5, float(1 << 60), None, None]
    assert [by_id[str(n)]["mixed"] for n in range(4)] == ["1", "x", "[1]", '{"a":1}']
    assert by_id["1"]["list"] == ["a"]
    assert by_id["0"]["empty"] == "{}"
    assert json.loads(by_id["4"]["keys"]) == odd[4]["keys"]


def test_columns_named_like_the_datasets_own_get_a_prefix(tmp_path: Path) -> None:
    row = Row(
        "r", {"messages": "seed", "id": 7, "x": 1, "both": "source"}, {"tools": "t", "both": "data"}
    )
    export(written(tmp_path / "out", [row]), str(tmp_path / "a.jsonl"), "jsonl")
    (shaped,) = lines(tmp_path / "a.jsonl")
    assert shaped == {
        "id": "r",
        "messages": [],
        "tools": [],
        "both": "data",
        "data_tools": "t",
        "source_id": 7,
        "source_messages": "seed",
        "x": 1,
    }


def test_names_in_rows_cannot_break_the_card(tmp_path: Path) -> None:
    row = Row("r", {"a|b`\n# c": 1}, {})
    export(written(tmp_path / "out", [row]), str(tmp_path / "set"), "huggingface")
    text = (tmp_path / "set" / "README.md").read_text()
    assert "| `a\\|b' # c` | `int64` | column of the source |" in text


def test_rows_with_an_answer_to_no_call_are_counted(tmp_path: Path) -> None:
    good = dialogue(0)
    orphan = Row("r", {}, {}, [ChatMessage("tool", "hi", tool_call_id="nobody")])
    uri = written(tmp_path / "out", [good, orphan])
    done = export(uri, str(tmp_path / "set"), "huggingface")
    assert done.survey.unpaired == 1
    assert (
        "**1 rows** hold a `tool` message that answers no call before it"
        in (tmp_path / "set" / "README.md").read_text()
    )


def test_a_large_dataset_is_cut_into_shards(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "SHARD_BYTES", 4000)
    monkeypatch.setattr(export_module, "_BATCH", 5)
    done = export(output, str(tmp_path / "set"), "huggingface")
    shards = sorted((tmp_path / "set" / "data").iterdir())
    assert len(shards) > 2
    assert sum(pq.ParquetFile(shard).metadata.num_rows for shard in shards) == 30
    assert len(done.files) == len(shards) + 1
    assert done.bytes == sum(Path(file).stat().st_size for file in done.files)
    assert len(datasets.load_dataset(str(tmp_path / "set"), split="train")) == 30


@pytest.mark.parametrize("format", FORMATS)
def test_an_output_without_rows_exports_an_empty_dataset(
    tmp_path: Path, format: ExportFormat
) -> None:
    OutputTable.open(str(tmp_path / "out"), {}, pipeline="support").close()
    assert export(str(tmp_path / "out"), str(tmp_path / "x"), format).rows == 0
    assert (tmp_path / "x").exists()


def test_progress_is_told_up_to_the_end(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "_BATCH", 8)
    told: list[tuple[int, int]] = []
    export(output, str(tmp_path / "a.jsonl"), "jsonl", progress=lambda *done: told.append(done))
    assert told[-1] == (30, 30)
    assert told == sorted(told)
    assert len(told) > 2


def test_rows_committed_meanwhile_do_not_get_in(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[int] = []

    def commit_more(*_: int) -> None:
        if not late:
            table = OutputTable.open(output, {}, pipeline="support")
            table.claim(0)
            late.append(table.commit(0, batch([99])).version)

    done = export(output, str(tmp_path / "a.jsonl"), "jsonl", progress=commit_more)
    assert late
    assert done.rows == len(lines(tmp_path / "a.jsonl")) == 30


def test_exports_go_to_any_fsspec_address(output: str) -> None:
    export(output, "memory://weft-export/set", "huggingface")
    fs = fsspec.filesystem("memory")
    found = sorted(name.removeprefix("/weft-export/set/") for name in fs.find("/weft-export"))
    assert found[0] == "README.md"
    assert found[1].startswith("data/train-00000-")


def test_datasets_does_not_take_one_export_for_another(tmp_path: Path) -> None:
    """It caches by the folder's name and what the card says."""
    for number in (1, 2):
        place = tmp_path / str(number)
        export(written(place / "out", [dialogue(number)]), str(place / "same"), "huggingface")
        loaded = datasets.load_dataset(str(place / "same"), split="train")
        assert list(loaded["id"]) == [f"ticket-{number}"]


def test_a_failed_export_leaves_nothing(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(output, str(tmp_path / "new" / "a.jsonl"), "jsonl", progress=fail)
    assert list((tmp_path / "new").iterdir()) == []


def test_what_is_there_is_only_overwritten_when_told(output: str, tmp_path: Path) -> None:
    place = tmp_path / "set"
    export(output, str(place), "huggingface", status="dead")
    with pytest.raises(ExportError, match="exists already; choose another destination"):
        export(output, str(place), "huggingface")
    assert export(output, str(place), "huggingface", overwrite=True).rows == 30
    assert len(datasets.load_dataset(str(place), split="train")) == 30


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": "good"}, "status 'good': must be one of accepted, rejected, dead"),
        ({"format": "xml"}, "format 'xml': must be jsonl, parquet, huggingface or preference"),
        ({"destination": "{out}"}, "{out}: is a Delta table; choose another destination"),
        ({"destination": "/proc/x/y"}, "/proc/x/y: cannot be written: "),
        ({"uri": "{at}/nothing"}, "{at}/nothing: holds no output of Weft (no Delta table)"),
        ({"uri": "{at}/damaged"}, "{at}/damaged: status=accepted/"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    output: str, tmp_path: Path, change: dict[str, str], problem: str
) -> None:
    written(tmp_path / "damaged", [dialogue(1)])
    for file in (tmp_path / "damaged" / "status=accepted").iterdir():
        file.write_bytes(b"PAR1 no more")
    places = {"out": output, "at": str(tmp_path)}
    asked: dict[str, Any] = {
        "uri": output,
        "destination": f"{tmp_path}/x",
        "format": "jsonl",
        **{name: value.format(**places) for name, value in change.items()},
    }
    with pytest.raises((ExportError, OutputError)) as refused:
        export(asked.pop("uri"), asked.pop("destination"), asked.pop("format"), **asked)
    assert str(refused.value).startswith(problem.format(**places))
    assert "\n" not in str(refused.value)
