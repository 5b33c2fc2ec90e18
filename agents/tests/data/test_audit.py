"""Tampering with the table is found, and said row by row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from finished_rows import finished

from weft.data.audit import Audit, audit
from weft.data.chain import Link, after
from weft.data.columns import TABLE_SCHEMA
from weft.data.retried import all_of
from weft.data.retry import dead_rows, put_back
from weft.data.table import OutputTable
from weft.protocol.view import partition_of

ROWS = 40


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """40 rows in 4 commits of two writers, of whom one starts again in between."""
    where = str(tmp_path / "out")
    for half in range(2):
        table = OutputTable.open(where, {}, pipeline="p", partitions=2)
        for partition in range(2):
            table.claim(partition)
        for batch in range(2):
            start = half * 20 + batch * 10
            rows = [finished(number) for number in range(start, start + 10)]
            for row in rows:
                row.status = "dead" if row.row % 10 == 3 else "accepted"
            for partition in range(2):
                mine = [row for row in rows if partition_of(row.row, 2) == partition]
                table.commit(partition, mine)
        table.close()
    return where


def audited(uri: str) -> Audit:
    table = OutputTable.open(uri, {}, pipeline="p", partitions=2)
    try:
        earlier = all_of(table.files)
        return audit(DeltaTable(uri), table.files, partitions=2, earlier=earlier)
    finally:
        table.close()


def rewrite(uri: str, change: Callable[[pa.Table], pa.Table], status: str = "accepted") -> None:
    """Change the first data file of a status behind the table's back."""
    path = sorted(Path(uri, f"status={status}").glob("*.parquet"))[0]
    with pq.ParquetFile(path) as file:
        table = file.read()
    pq.write_table(change(table), path)


def with_column(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    at = table.schema.get_field_index(name)
    field = table.schema.field(at)
    return table.set_column(at, field, pa.array(values, field.type))


def test_untouched_rows_are_found_whole_over_writers_restarts_and_compaction(uri: str) -> None:
    before = audited(uri)
    assert (before.findings, before.rows) == ([], ROWS)
    assert sum(chain.head.sequence for chain in before.chains) == ROWS
    DeltaTable(uri).optimize.compact()
    after_compaction = audited(uri)
    assert after_compaction.findings == []
    assert [c.head for c in after_compaction.chains] == [c.head for c in before.chains]
    table = OutputTable.open(uri, {}, pipeline="p", partitions=2)
    for partition in range(2):
        table.claim(partition)
        row = next(n for n in range(100, 200) if partition_of(n, 2) == partition)
        table.commit(partition, [finished(row)])
    table.close()
    assert (audited(uri).findings, audited(uri).rows) == ([], ROWS + 2)


def test_a_commits_metadata_holds_the_head(uri: str) -> None:
    heads = {f"{chain.head.sequence} {chain.head.link}" for chain in audited(uri).chains}
    noted = {value for entry in DeltaTable(uri).history() for value in map(str, entry.values())}
    assert heads <= noted


@pytest.mark.parametrize(
    ("column", "value"),
    [("data", '{"verdict":"reject"}'), ("reason", "other"), ("promptTokens", 1), ("source", "{}")],
)
def test_a_changed_value_is_found_in_its_row(uri: str, column: str, value: object) -> None:
    def change(table: pa.Table) -> pa.Table:
        nonlocal name
        name = table["id"][1].as_py()
        values = table[column].to_pylist()
        values[1] = value
        return with_column(table, column, values)

    name = ""
    rewrite(uri, change)
    (finding,) = audited(uri).findings
    assert (finding.kind, finding.what) == ("changed", f"row {name!r} is not what was committed")


def test_a_changed_message_or_verdict_is_found(uri: str) -> None:
    def change(table: pa.Table) -> pa.Table:
        dialogues = table["messages"].to_pylist()
        dialogues[0][0]["content"] += "!"
        paths = table["provenance"].to_pylist()
        paths[1][0]["verdicts"] = [{"rule": "r", "action": "tag", "counts": "{}"}]
        table = with_column(table, "messages", dialogues)
        return with_column(table, "provenance", paths)

    rewrite(uri, change)
    assert [finding.kind for finding in audited(uri).findings] == ["changed", "changed"]


def test_a_changed_row_whose_digest_was_mended_breaks_the_link(uri: str) -> None:
    from weft.data.chain import content_of

    def change(table: pa.Table) -> pa.Table:
        stored = table.to_pylist()
        stored[1]["data"] = '{"verdict":"x"}'
        chains = [row["chain"] for row in stored]
        chains[1]["digest"] = content_of({**stored[1], "status": "accepted"}).digest()
        table = with_column(table, "data", [row["data"] for row in stored])
        return with_column(table, "chain", chains)

    rewrite(uri, change)
    assert [finding.kind for finding in audited(uri).findings] == ["rewritten"]


def test_a_file_that_is_gone_or_damaged_is_named(uri: str) -> None:
    files = sorted(Path(uri, "status=accepted").glob("*.parquet"))
    files[0].unlink()
    files[1].write_bytes(b"no parquet")
    told = [finding.what for finding in audited(uri).findings if "cannot be read" in finding.what]
    assert [line.split()[0] for line in told] == [f"status=accepted/{f.name}" for f in files[:2]]


def test_a_row_that_was_deleted_through_delta_is_missed(uri: str) -> None:
    DeltaTable(uri).delete("row = 12")
    (finding,) = audited(uri).findings
    assert finding.kind == "removed"
    assert finding.what.startswith("a row was removed before row 'ticket-")


def test_a_row_that_changed_its_status_is_found(uri: str) -> None:
    stored = DeltaTable(uri).to_pyarrow_table(filters=[("row", "=", 13)])
    DeltaTable(uri).delete("row = 13")
    accepted = with_column(stored, "status", ["accepted"])
    write_deltalake(uri, accepted, mode="append", partition_by=["status"])
    assert [finding.kind for finding in audited(uri).findings] == ["changed"]


@pytest.mark.parametrize("known", [True, False])
def test_an_added_row_is_found(uri: str, known: bool) -> None:
    """A copy of a row under another number, and one without a place in the chain."""
    stored = DeltaTable(uri).to_pyarrow_table(filters=[("row", "=", 12)])
    other = next(n for n in range(500, 600) if partition_of(n, 2) == partition_of(12, 2))
    stored = with_column(stored, "row", [other])
    if not known:
        stored = with_column(stored, "chain", [None])
    write_deltalake(uri, stored.cast(TABLE_SCHEMA), mode="append", partition_by=["status"])
    assert [finding.kind for finding in audited(uri).findings] == ["added"]


def test_all_rewritten_is_found_by_a_head_that_was_kept(uri: str) -> None:
    """The limit of any chain without a key: who mends everything is found by the head alone."""
    kept = {chain.head.link for chain in audited(uri).chains}
    assert all(any(head in chain.links for chain in audited(uri).chains) for head in kept)
    DeltaTable(uri).delete("row >= 20")
    shortened = audited(uri)
    assert shortened.findings == []
    assert not any(head in chain.links for chain in shortened.chains for head in kept)


def test_rows_that_weft_retry_put_back_leave_the_chain_whole(uri: str) -> None:
    kept = [chain.head.link for chain in audited(uri).chains]
    table = OutputTable.open(uri, {}, pipeline="p", partitions=2)
    assert put_back(table, list(dead_rows(table))) == 4
    table.close()
    found = audited(uri)
    assert found.findings == []
    assert sum(chain.put_back for chain in found.chains) == 4
    assert all(head in chain.links for head, chain in zip(kept, found.chains, strict=True))
    made_again = OutputTable.open(uri, {}, pipeline="p", partitions=2)
    for number in (3, 13, 23, 33):
        partition = partition_of(number, 2)
        made_again.claim(partition)
        made_again.commit(partition, [finished(number)])
    made_again.close()
    assert (audited(uri).findings, audited(uri).rows) == ([], ROWS)


def test_a_made_up_record_of_a_retry_does_not_cover_a_removal(uri: str) -> None:
    DeltaTable(uri).delete("row = 12")
    record = Path(uri, "_weft", "retried", "0.jsonl")
    record.parent.mkdir(parents=True, exist_ok=True)
    link = after(Link(6, "0" * 64), "0" * 64)
    lines = [
        f'{{"row": 12, "id": "x", "reason": "", "committed": "", "retried": "", '
        f'"sequence": {sequence}, "digest": "{"0" * 64}", "link": "{link.link}"}}'
        for sequence in range(1, ROWS)
    ]
    record.write_text("\n".join(lines))
    assert [finding.kind for finding in audited(uri).findings] == ["removed"]
