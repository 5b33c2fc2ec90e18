"""Each example as it is: checked, run on its simulator, exported, read by `datasets`, formatted by
a chat template."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest
from chat_templates import EITHER, formatted

from weft.cli.checks import check
from weft.data.export import export
from weft.data.source import read
from weft.data.table import OutputTable
from weft.protocol.writer import Finished
from weft.row import Row, encode_row
from weft.segment import encode_segment
from weft.testing import Rows, Walked
from weft_api.load import load
from weft_api.plan import Plan

EXAMPLES = Path(__file__).parents[3] / "examples"
STATUS = {"$accept": "accepted", "$reject": "rejected", "$dead": "dead"}
MOST_ROWS = 200


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def fast(plan: Plan) -> Plan:
    """The plan with simulators that answer at once."""
    made = plan.model_dump(mode="json", by_alias=True)
    for pool in made["pools"]:
        if pool["engine"]:
            pool["engine"]["simulator"]["latency"]["median"] = "0ms"
    return Plan.model_validate_json(json.dumps(made), by_name=False)


async def walked(name: str) -> list[Walked]:
    plan = fast(check(load([EXAMPLES / name])).plan)
    sources = list(read(plan.source, {}))[:MOST_ROWS]
    async with Rows(plan) as rows:
        return await asyncio.gather(
            *(rows.run(Row(one.id, one.columns), number=one.ordinal) for one in sources)
        )


def committed(rows: list[Walked], at: Path) -> str:
    table = OutputTable.open(str(at), {}, pipeline="example")
    table.claim(0)
    table.commit(
        0,
        [
            Finished(
                number,
                STATUS[one.end],
                one.reason,
                encode_row(one.row),
                [encode_segment(segment) for segment in one.segments],
                1,
                1,
            )
            for number, one in enumerate(rows)
        ],
    )
    table.close()
    return str(at)


def loaded(path: Path) -> Any:
    return datasets.load_dataset("json", data_files=str(path), split="train")


@pytest.mark.parametrize(
    ("name", "least", "some_rejected"),
    [
        ("support", 80, True),
        ("maths", 4, True),
        ("code", 6, True),
        ("preference", 40, False),
        ("rag", 6, True),
        ("panel", 20, False),
    ],
)
async def test_an_example_makes_rows_that_can_be_trained_on(
    name: str, least: int, some_rejected: bool, tmp_path: Path
) -> None:
    rows = await walked(name)
    ends = Counter(one.end for one in rows)
    assert not ends["$dead"]
    assert ends["$accept"] >= least
    assert bool(ends["$reject"]) or not some_rejected
    export(committed(rows, tmp_path / "out"), str(tmp_path / "a.jsonl"), "jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    for line, row in zip(lines, loaded(tmp_path / "a.jsonl"), strict=True):
        text = formatted(row["messages"], line["tools"], EITHER)
        assert text == formatted(line["messages"], line["tools"], EITHER)
        assert all(message["content"] in text for message in line["messages"])
        answered = [m["tool_call_id"] for m in line["messages"] if m["role"] == "tool"]
        called = [c["id"] for m in line["messages"] for c in m.get("tool_calls", [])]
        assert called == answered


@pytest.mark.parametrize("name", ["support", "maths", "code", "rag", "panel"])
async def test_the_first_row_is_the_one_that_the_page_shows(name: str) -> None:
    first = next(one.row for one in await walked(name) if one.end == "$accept")
    spoken = [
        [f"→ {call.name}" for call in message.tool_calls] or [message.content]
        for message in first.messages
    ]
    for (role, shown), message, texts in zip(_shown(name), first.messages, spoken, strict=True):
        assert role == message.role
        _in_order(shown, " ".join(texts[0].split()))


async def test_the_first_pair_is_the_one_that_the_page_shows(tmp_path: Path) -> None:
    output = committed(await walked("preference"), tmp_path / "out")
    export(output, str(tmp_path / "pairs.jsonl"), "preference")
    pair = json.loads((tmp_path / "pairs.jsonl").read_text().splitlines()[0])
    page = (EXAMPLES / "preference" / "README.md").read_text()
    shown = json.loads(page.split("```json\n")[1].split("```")[0])
    assert list(shown) == [name for name in pair if name in shown]
    for name, value in shown.items():
        _in_order(json.dumps(value, ensure_ascii=False), json.dumps(pair[name], ensure_ascii=False))


def _shown(name: str) -> list[tuple[str, str]]:
    """Role and text of each turn of the page's first row, as one line each."""
    page = (EXAMPLES / name / "README.md").read_text()
    block = page.split("\nThe first ", 1)[1].split("```\n", 2)[1]
    turns: list[tuple[str, str]] = []
    for line in block.splitlines():
        role, text = line[:11].strip(), line[11:]
        if role:
            turns.append((role, text))
        else:
            turns[-1] = (turns[-1][0], f"{turns[-1][1]} {text}")
    return [(role, " ".join(text.split("(")[0].split() if text.startswith("→") else text.split()))
            for role, text in turns]  # fmt: skip


def _in_order(shown: str, whole: str) -> None:
    """What a page shows, shortened with …, is in the text."""
    at = 0
    for part in shown.split("…"):
        found = whole.find(part.strip(), at)
        assert found >= 0, f"{part.strip()!r} is not in {whole[at:]!r}"
        at = found + len(part.strip())


async def test_the_preference_example_gives_pairs_and_the_judge_prefers_what_is_chosen(
    tmp_path: Path,
) -> None:
    output = committed(await walked("preference"), tmp_path / "out")
    done = export(output, str(tmp_path / "pairs.jsonl"), "preference")
    assert done.rows > 80
    for pair in loaded(tmp_path / "pairs.jsonl"):
        assert pair["chosen"] != pair["rejected"]
        prefix = formatted(pair["prompt"], [], EITHER)
        for half in ("chosen", "rejected"):
            assert formatted([*pair["prompt"], *pair[half]], [], EITHER).startswith(prefix)


async def test_what_the_tests_let_pass_is_the_right_program_each_time() -> None:
    """The simulator draws right and wrong programs alike; only running them tells."""
    for one in await walked("code"):
        program = one.row.messages[-1].content.split("```python\n")[1].split("```")[0]
        scope: dict[str, Any] = {}
        exec(program, scope)
        try:
            exec(one.row["tests"], scope)
            right = True
        except Exception:
            right = False
        assert right is (one.end == "$accept"), one.row.id


async def test_an_example_comes_out_the_same_when_it_runs_again() -> None:
    for name in ("code", "preference", "rag"):
        once, again = await walked(name), await walked(name)
        assert [one.row for one in once] == [one.row for one in again], name
