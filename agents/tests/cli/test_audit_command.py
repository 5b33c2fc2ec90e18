"""`weft audit`: what it finds, what it tells of a row, and the row's page."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

import good_manifests
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Weft
from deltalake import DeltaTable

from weft.data.plans import StoredPlans
from weft.data.table import OutputTable
from weft.protocol.writer import Finished
from weft.row import ChatMessage, Origin, Row, encode_row, source_digest
from weft.segment import ModelCall, Segment, ToolTrace, Verdict, encode_segment
from weft_api.load import load
from weft_api.plan import Plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    folder = tmp_path / "manifests"
    folder.mkdir()
    good_manifests.write(folder)
    return load([folder]).compile()


@pytest.fixture
def output(tmp_path: Path, plan: Plan) -> Path:
    """Three rows made by generation 1 of the plan, the first one redacted at its source."""
    prompt, pool = plan.prompts[0], plan.pools[0]
    hop = Segment(pool.step, pool.name, f"{pool.name}-0", "r1", "img:1", 1, 0, 0, 1e9, 1.5, plan=1)
    hop.models = [ModelCall("tiny", 1.2, 300, 40, 5, {"temperature": 0.5}, message=0)]
    hop.models[0].prompt = f"{prompt.name}@{prompt.version}"
    hop.tools = [ToolTrace("c1", "lookup", "{}", "sent", 0.02, version="abc")]
    hop.verdicts = [Verdict("personal", "redact", {"EMAIL_ADDRESS": 2})]
    rows = []
    for number in range(3):
        said = ChatMessage("assistant", f"<script>alert({number})</script>")
        row = Row(f"case-{number}", {"product": "lamp"}, {"score": 9}, [said])
        if number == 0:
            found = [Verdict("licences", "tag", {"notAllowed": 1})]
            row.origin = Origin("d" * 64, 1e9, found)
        body, segments = encode_row(row), [encode_segment(hop)]
        rows.append(Finished(number, "accepted", "", body, segments, 1, 1))
    path = tmp_path / "out"
    table = OutputTable.open(str(path), {}, pipeline="answers")
    table.claim(0)
    table.commit(0, rows)
    table.close()
    StoredPlans(str(path), {}).save(plan)
    return path


def tamper(output: Path) -> None:
    (path,) = Path(output, "status=accepted").glob("*.parquet")
    with pq.ParquetFile(path) as file:
        table = file.read()
    at = table.schema.get_field_index("data")
    values = ['{"score":10}', *table["data"].to_pylist()[1:]]
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(values)), path)


def test_an_untouched_output_is_ok_and_its_head_is_told(output: Path, weft: Weft) -> None:
    result = weft("audit", output)
    assert (result.code, result.err) == (0, "")
    assert "ok: 3 rows are as they were committed" in result.out
    head = re.search(r"partition 0: 3 rows, head ([0-9a-f]{64})", result.out)
    assert head is not None
    assert weft("audit", output, "--head", head[1]).code == 0


def test_a_head_that_is_not_in_the_chain_is_a_fault(output: Path, weft: Weft) -> None:
    result = weft("audit", output, "--head", "0" * 64)
    assert result.code == 1
    assert "is not in the chain" in result.out


def test_a_changed_and_a_removed_row_are_named(output: Path, weft: Weft) -> None:
    tamper(output)
    result = weft("audit", output)
    assert result.code == 1
    assert "changed: row 'case-0' is not what was committed (partition 0, place 1)" in result.out
    assert "1 fault in 3 rows" in result.err


def test_a_removed_row_is_named_by_the_one_after_it(output: Path, weft: Weft) -> None:
    DeltaTable(output).delete("id = 'case-1'")
    result = weft("audit", output)
    assert result.code == 1
    assert "removed: a row was removed before row 'case-2' (partition 0, place 2)" in result.out


def test_a_row_is_explained_to_an_auditor(output: Path, plan: Plan, weft: Weft) -> None:
    result = weft("audit", output, "case-0")
    assert (result.code, result.err) == (0, "")
    prompt, pool = plan.prompts[0], plan.pools[0]
    for told in (
        *("row case-0: accepted", "content is as it was committed", "d" * 64),
        *("rule licences: tag (notAllowed 1)", "rule personal: redact (EMAIL_ADDRESS 2)"),
        *(f"agent {pool.agent}, pool {pool.name}, instance {pool.name}-0", "revision r1"),
        *("image img:1", "plan 1", "asked model tiny", "temperature 0.5", "seed 5", "300 + 40"),
        *("called tool lookup (version abc)", f"{prompt.name}@{prompt.version}: "),
        prompt.text.splitlines()[0],
    ):
        assert told in result.out
    other = weft("audit", output, "case-1")
    assert source_digest({"product": "lamp"}) in other.out


def test_the_page_stands_alone_and_runs_nothing(
    output: Path, plan: Plan, weft: Weft, tmp_path: Path
) -> None:
    page = tmp_path / "row.html"
    assert weft("audit", output, "case-0", "--html", page).code == 0
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    prompt, pool = plan.prompts[0], plan.pools[0]
    for told in (
        "The content is as it was committed.",
        f"hop 0, {pool.step}: model tiny",
        f'<p class="who">{pool.agent}</p>',
        "<dd>300 asked with, 40 answered</dd>",
        "<b>tool lookup</b> (version abc",
        "<b>rule personal</b>: redact (EMAIL_ADDRESS 2)",
        f"<summary><b>{prompt.name}@{prompt.version}</b></summary>",
        escape(prompt.text.splitlines()[0]),
        f"<code>{'d' * 64}</code> of the columns as read, before the rules",
    ):
        assert told in text
    # Nothing is fetched: what has an address or brings its own would be refused by this, too.
    assert "default-src 'none'" in text
    assert not re.search(r"\b(src|href|onclick|onload|url)\s*[=(]", text)
    assert "&lt;script&gt;alert(0)&lt;/script&gt;" in text
    assert "<script" not in text
    assert "http" not in re.sub(r"http-equiv", "", text)


def test_a_tampered_row_is_said_to_be_one(output: Path, weft: Weft) -> None:
    tamper(output)
    for result in (weft("audit", output, "case-0"),):
        assert result.code == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "audit: "),
        (["OUT", "case-9"], "has no row 'case-9'"),
        (["OUT", "--html", "x.html"], "name the row as well"),
        (["OUT", "case-0", "--html", "/nowhere/x.html"], "choose another file"),
    ],
)
def test_wrong_words_give_one_line(
    output: Path, weft: Weft, arguments: list[str], told: str
) -> None:
    result = weft("audit", *[str(output) if word == "OUT" else word for word in arguments])
    assert result.code == 2
    assert told in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_verdicts_are_shown_on_the_rows_path(output: Path, weft: Weft) -> None:
    for extra in ((), ("--path",)):
        result = weft("show", output, "case-0", *extra)
        assert "personal: redact (EMAIL_ADDRESS 2)" in " ".join(result.out.split())
