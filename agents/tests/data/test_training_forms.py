"""Exports as trainers take them: a chat template applied, `datasets` in between, pairs for DPO."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import datasets
import pytest
from chat_templates import EITHER, OBJECTS, formatted
from finished_rows import LOOKUP, batch

from weft.data.errors import ExportError
from weft.data.export import export
from weft.data.table import OutputTable
from weft.protocol.writer import Finished
from weft.row import ChatMessage, Row, ToolCall, encode_row

CALL = re.compile(r"<tool_call>(.*)</tool_call>")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def table(at: Path, rows: list[Finished]) -> str:
    output = OutputTable.open(str(at), {}, pipeline="support")
    output.claim(0)
    output.commit(0, rows)
    output.close()
    return str(at)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def calls_and_answers_pair(messages: list[dict[str, Any]]) -> bool:
    called = [call["id"] for m in messages for call in m.get("tool_calls") or []]
    answered = [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    return called == answered and len(set(called)) == len(called)


@pytest.mark.parametrize(("arguments", "template"), [("object", OBJECTS), ("text", EITHER)])
def test_a_chat_template_formats_each_row_with_its_tools(
    tmp_path: Path, arguments: str, template: str
) -> None:
    output = table(tmp_path / "out", batch(range(5)))
    export(output, str(tmp_path / "a.jsonl"), "jsonl", objects=arguments == "object")
    for number, row in enumerate(lines(tmp_path / "a.jsonl")):
        assert calls_and_answers_pair(row["messages"])
        text = formatted(row["messages"], row["tools"], template)
        assert json.dumps(LOOKUP["function"]["name"]) in text  # type: ignore[index]
        (call,) = CALL.findall(text)
        assert json.loads(call) == {"name": "lookup_order", "arguments": {"order": str(number)}}
        assert f"<tool_response>{row['messages'][2]['content']}</tool_response>" in text


def test_rows_that_datasets_has_read_are_formatted_alike(tmp_path: Path) -> None:
    output = table(tmp_path / "out", batch(range(5)))
    export(output, str(tmp_path / "a.jsonl"), "jsonl")
    export(output, str(tmp_path / "set"), "huggingface")
    from_lines = datasets.load_dataset("json", data_files=str(tmp_path / "a.jsonl"), split="train")
    from_folder = datasets.load_dataset(str(tmp_path / "set"), split="train")
    for plain, typed, row in zip(from_lines, from_folder, lines(tmp_path / "a.jsonl"), strict=True):
        expected = formatted(row["messages"], row["tools"], EITHER)
        assert formatted(plain["messages"], row["tools"], EITHER) == expected
        assert formatted(typed["messages"], json.loads(typed["tools"]), EITHER) == expected


def test_arguments_that_are_no_object_stay_as_the_model_wrote_them(tmp_path: Path) -> None:
    row = Row("r", {}, {}, [ChatMessage("assistant", "", [ToolCall("c", "f", "{broken")])])
    output = table(tmp_path / "out", [Finished(0, "accepted", "", encode_row(row), [], 1, 1)])
    export(output, str(tmp_path / "a.jsonl"), "jsonl", objects=True)
    (exported,) = lines(tmp_path / "a.jsonl")
    assert exported["messages"][0]["tool_calls"][0]["function"]["arguments"] == "{broken"
    with pytest.raises(ExportError, match="no one type for a Parquet file; export as jsonl"):
        export(output, str(tmp_path / "a.parquet"), "parquet", objects=True)


def user(text: str) -> ChatMessage:
    return ChatMessage("user", text)


def said(text: str) -> ChatMessage:
    return ChatMessage("assistant", text)


def rejected(message: int, content: str, **more: Any) -> dict[str, Any]:
    return {"message": message, "content": content, **more}


CALLED = ChatMessage("assistant", "", [ToolCall("c1", "lookup_order", '{"order": "A1"}')])
RESULT = ChatMessage("tool", "sent", tool_call_id="c1", name="lookup_order")
PAIRED = [
    # Two that were worse than the only answer.
    Row(
        "two",
        {},
        {
            "score": 9.0,
            "rejected_answers": [
                rejected(1, "bad", score=3, reason="vague"),
                rejected(1, "poor", score=5),
            ],
        },
        [user("Hi"), said("good")],
    ),
    # An answer that was revised into a call of a tool: all that came of it is chosen.
    Row(
        "called",
        {},
        {"rejected_answers": [rejected(1, "It is lost.", reason="made up")]},
        [user("Where is A1?"), CALLED, RESULT, said("It was sent."), user("Thanks"), said("Bye")],
        [LOOKUP],
    ),
    # Nothing to prefer: the same text, no answer there any more, no rejected ones.
    Row("same", {}, {"rejected_answers": [rejected(1, "good")]}, [user("Hi"), said("good")]),
    Row("gone", {}, {"rejected_answers": [rejected(3, "x")]}, [user("Hi"), said("good")]),
    Row("none", {}, {}, [user("Hi"), said("good")]),
]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_pairs_have_the_form_that_preference_training_takes(tmp_path: Path, suffix: str) -> None:
    rows = [Finished(n, "accepted", "", encode_row(row), [], 1, 1) for n, row in enumerate(PAIRED)]
    place = tmp_path / f"pairs.{suffix}"
    done = export(table(tmp_path / "out", rows), str(place), "preference")
    kind = "json" if suffix == "jsonl" else suffix
    pairs = datasets.load_dataset(kind, data_files=str(place), split="train")
    assert done.rows == len(pairs) == 3
    bad, poor, made_up = pairs
    assert [(m["role"], m["content"]) for m in bad["prompt"]] == [("user", "Hi")]
    assert [(m["role"], m["content"]) for m in bad["chosen"]] == [("assistant", "good")]
    assert [(m["role"], m["content"]) for m in bad["rejected"]] == [("assistant", "bad")]
    assert (bad["score_chosen"], bad["score_rejected"], bad["reason"]) == (9.0, 3.0, "vague")
    assert poor["rejected"][0]["content"] == "poor"
    assert [m["role"] for m in made_up["chosen"]] == ["assistant", "tool", "assistant"]
    assert calls_and_answers_pair(made_up["chosen"])
    tools = made_up["tools"] if suffix == "jsonl" else json.loads(made_up["tools"])
    assert tools[0]["function"]["name"] == "lookup_order"
    for pair in pairs:
        for half in ("chosen", "rejected"):
            assert formatted([*pair["prompt"], *pair[half]], [], EITHER)
            assert pair["prompt"][-1]["role"] == "user"
            assert pair[half][-1]["role"] == "assistant"
