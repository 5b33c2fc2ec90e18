"""What agents do with rows that are committed: near duplicates, examples for prompts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from weft.builtin.likeness import Seen, Signature, shingles, signature
from weft.data import accepted as accepted_module
from weft.data.accepted import AcceptedRows
from weft.data.table import OutputTable
from weft.protocol.writer import Finished
from weft.row import ChatMessage, Row, encode_row
from weft.testing import Rows, Scripted, Walked
from weft_api.parse import parse_pipeline, parse_pool
from weft_api.plan import Plan, compile_plan

STORY = "The parcel with the lamp was left at the depot in Graz and nobody came for it"
OTHER = "A refund for the second charge on the card is on its way and arrives on Friday"


def plan(output: Path, agent: str, config: dict[str, Any], prompt: str = "Answer.") -> Plan:
    head = {"apiVersion": "weft.dev/v1alpha1"}
    ways = [{"to": "$reject", "when": "has(row.duplicate_of)"}, {"to": "$accept"}]
    spec = {
        "source": {"generate": {"rows": 1}},
        "output": {"uri": str(output)},
        "flow": {"entry": "only", "steps": [{"name": "only", "next": ways}]},
        "prompts": [{"name": "draft", "text": prompt}],
    }
    name = {"name": "p"}
    pool = {
        "pipelineRef": {"name": "p"},
        "agent": f"weft.builtin:{agent}",
        "config": config,
        "engine": {"simulator": {}},
    }
    return compile_plan(
        parse_pipeline({**head, "kind": "SyntheticPipeline", "metadata": name, "spec": spec}),
        [parse_pool({**head, "kind": "AgentPool", "metadata": {"name": "only"}, "spec": pool})],
    )


def row(name: str, text: str) -> Row:
    return Row(name, {}, {}, [ChatMessage("user", "Hi"), ChatMessage("assistant", text)])


def commit(output: Path, rows: dict[str, str], status: str = "accepted") -> None:
    table = OutputTable.open(str(output), {}, pipeline="p")
    claim = table.claim(0)
    first = 1000 * claim.number
    batch = [
        Finished(first + n, status, "", encode_row(row(name, text)), [], 1, 1)
        for n, (name, text) in enumerate(rows.items())
    ]
    table.commit(0, batch)
    table.close()


async def test_a_row_that_is_like_an_earlier_one_names_it(tmp_path: Path) -> None:
    config = {"on": "answer"}
    async with Rows(plan(tmp_path / "out", "NearDuplicateAgent", config)) as rows:

        async def walked(name: str, text: str) -> Walked:
            return await rows.run(row(name, text))

        assert (await walked("a", STORY)).end == "$accept"
        assert (await walked("b", OTHER)).end == "$accept"
        alike = await walked("c", STORY + " on end")
        assert alike.end == "$reject"
        assert alike.row["duplicate_of"] == "a"
        assert alike.reason.startswith("it is like row a (similarity about 0.")
        again = await walked("a", STORY)
        assert again.end == "$accept", "a row that comes again is no duplicate of itself"


async def test_after_a_restart_it_knows_what_was_accepted_and_nothing_else(tmp_path: Path) -> None:
    commit(tmp_path / "out", {"old": STORY})
    commit(tmp_path / "out", {"no": OTHER}, "rejected")
    config = {"on": "answer"}
    async with Rows(plan(tmp_path / "out", "NearDuplicateAgent", config)) as rows:
        assert (await rows.run(row("new", STORY))).row["duplicate_of"] == "old"
        assert (await rows.run(row("other", OTHER))).end == "$accept"


def test_the_oldest_are_forgotten_first_and_memory_is_bounded() -> None:
    def signed(text: str) -> Signature:
        return signature(shingles(text, 3))

    seen = Seen(0.8, capacity=3)
    for number in range(6):
        assert seen.add(f"r{number}", signed(f"{number} " * 9 + str(number + 100))) is None
    assert len(seen) == 3
    assert seen.add("again", signed("0 " * 9 + "100")) is None
    assert seen.add("late", signed("5 " * 9 + "105")) == ("r5", 1.0)


@pytest.mark.parametrize("parts", [1, 4])
def test_memory_is_that_of_the_capacity_however_many_rows_come(parts: int) -> None:
    script = f"""
import psutil
from weft.builtin.likeness import Seen, signature
seen = Seen(0.8, 4000, parts={parts})
size = lambda: psutil.Process().memory_info().rss
empty = size()
for number in range(40_000):
    seen.add(f"row {{number}}", signature([f"{{number}} {{word}}" for word in range(9)], {parts}))
    if number == 20_000:
        full = size()
print((full - empty) / 4000, (size() - full) / 4000)
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    full, grown = map(float, told.stdout.split())
    print(f"{parts} parts: {full:,.0f} bytes a row, and {grown:,.0f} after ten times the capacity")
    assert full < {1: 8 << 10, 4: 4 << 10}[parts]
    assert grown < 0.25 * full


def test_likeness_is_estimated_to_about_a_tenth() -> None:
    chance = Random(1)
    words = [f"w{n}" for n in range(4000)]
    for share in (0.95, 0.85, 0.5, 0.1):
        base = chance.sample(words, 300)
        kept = base[: int(share * 300)] + [f"x{n}" for n in range(300 - int(share * 300))]
        true = len(set(base) & set(kept)) / len(set(base) | set(kept))
        seen = Seen(0.7, 10)
        seen.add("a", signature(base))
        found = seen.add("b", signature(kept))
        assert (found is not None) is (true > 0.7), share
        assert found is None or abs(found[1] - true) < 0.15


async def test_a_prompt_gets_accepted_rows_as_examples_and_the_trace_says_which(
    tmp_path: Path,
) -> None:
    commit(tmp_path / "out", {"old": STORY})
    text = "{% for one in examples %}Like this: {{ one.messages[1].content }}{% endfor %}"
    made = plan(tmp_path / "out", "ChatAgent", {"examples": 2, "opening": "q"}, text)
    engine = Scripted("fine")
    async with Rows(made, engines={"only": engine}) as rows:
        walked = await rows.run(Row("r", {"q": "And now?"}))
    assert engine.asked[0].messages[0].content == f"Like this: {STORY}"
    assert walked.segments[0].notes == {"examples": ["old"]}


async def test_the_reservoir_is_bounded_and_read_anew_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = AcceptedRows(str(tmp_path / "out"), {})
    assert await reader.sample(3, Random(1)) == []
    commit(tmp_path / "out", {f"r{n}": f"{n} {STORY}" for n in range(40)})
    assert await reader.sample(3, Random(1)) == [], "what was read stays for a while"
    monkeypatch.setattr(accepted_module, "REFRESH", 0.0)
    monkeypatch.setattr(accepted_module, "RESERVOIR", 8)
    drawn = [one["id"] for n in range(30) for one in await reader.sample(20, Random(n))]
    assert len(drawn) == 30 * 8
    assert len(set(drawn)) > 8
