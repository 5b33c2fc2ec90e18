"""The output table: what is in it, what it refuses, and that a row is in it once."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from finished_rows import batch, dialogue, finished, trace

from weft.data import columns, layout
from weft.data.errors import OutputError, Superseded
from weft.data.parts import Part
from weft.data.table import OutputTable, claim_generation
from weft.data.ticket import Ticket
from weft.protocol.writer import Finished
from weft.row import encode_row
from weft.segment import ModelCall, Segment, encode_segment


def open_table(at: Path, *, partitions: int = 1, patience: float = 5) -> OutputTable:
    return OutputTable.open(
        str(at), {}, pipeline="support", partitions=partitions, patience=patience
    )


def keys(at: Path) -> list[int]:
    """All row keys that a reader sees, rising, doubled ones included."""
    return sorted(DeltaTable(at).to_pyarrow_table(columns=["row"])["row"].to_pylist())


def test_a_row_can_be_read_as_it_was_written(tmp_path: Path) -> None:
    table = open_table(tmp_path / "out")
    table.claim(0)
    commit = table.commit(0, [finished(1), finished(2, "rejected"), finished(3, "dead")])
    assert commit.rows == 3
    assert commit.version == table.version
    assert table.counts() == {"accepted": 1, "rejected": 1, "dead": 1}

    (row,) = DeltaTable(tmp_path / "out").to_pyarrow_table(filters=[("row", "=", 1)]).to_pylist()
    written = dialogue(1)
    assert row["id"] == written.id == "ticket-1"
    assert (row["status"], row["reason"], row["attempts"], row["epoch"]) == ("accepted", "", 1, 1)
    assert [message["role"] for message in row["messages"]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert row["messages"][1]["tool_calls"] == [
        {
            "id": "call-1-1",
            "type": "function",
            "function": {"name": "lookup_order", "arguments": '{"order": "1"}'},
        }
    ]
    assert row["messages"][2]["tool_call_id"] == "call-1-1"
    assert row["messages"][0]["tool_calls"] == []
    assert json.loads(row["tools"]) == written.tools
    assert json.loads(row["source"]) == written.source
    assert json.loads(row["data"]) == written.data
    assert (row["promptTokens"], row["completionTokens"]) == (300, 60)
    steps = [segment["step"] for segment in row["provenance"]]
    assert steps == ["drafter", "tools", "validator", "metadata"]
    drafter, tools = row["provenance"][:2]
    assert drafter["models"][0]["prompt"] == "drafter@0123456789ab"
    assert json.loads(drafter["models"][0]["sampling"]) == {"temperature": 0.9}
    assert tools["tools"][0]["result"] == "it is on its way"
    table.close()


def test_typed_columns_name_all_fields_of_messages_and_segments() -> None:
    """The conversion takes fields by place: a new one has to get its column."""

    def names(kind: pa.DataType) -> list[str]:
        return [field.name.lower() for field in kind]

    def fields(kind: type[msgspec.Struct]) -> list[str]:
        return [name.replace("_", "") for name in kind.__struct_fields__]

    provenance = columns.FILE_SCHEMA.field("provenance").type.value_type
    assert names(provenance) == fields(Segment)
    assert names(provenance.field("models").type.value_type) == fields(ModelCall)
    assert names(provenance.field("tools").type.value_type) == fields(type(trace(1)[1].tools[0]))
    messages = columns.FILE_SCHEMA.field("messages").type.value_type
    assert [field.name for field in messages] == list(
        type(dialogue(1).messages[0]).__struct_fields__
    )


def test_pandas_duckdb_and_deltalake_read_the_same(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    table.claim(0)
    for start in range(0, 30, 10):
        table.commit(0, batch(range(start, start + 10)))
    table.commit(0, batch(range(30, 34), "rejected"))
    expected = list(range(34))
    assert keys(tmp_path) == expected
    frame = DeltaTable(tmp_path).to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert sorted(frame["row"]) == expected
    dataset = DeltaTable(tmp_path).to_pyarrow_dataset()
    counted = duckdb.sql("select status, count(*), sum(promptTokens) from dataset group by 1")
    assert sorted(counted.fetchall()) == [("accepted", 30, 9000), ("rejected", 4, 1200)]
    asked = duckdb.sql("select messages[2].tool_calls[1].function.name from dataset limit 1")
    assert asked.fetchall() == [("lookup_order",)]
    assert dataset is not None


def test_a_claim_reads_back_what_is_committed(tmp_path: Path) -> None:
    table = open_table(tmp_path, partitions=2)
    assert table.claim(0).number == 1
    table.claim(1)
    table.commit(0, batch([0, 2, 4]) + batch([6], "dead"))
    table.commit(1, batch([1, 3]))
    again = open_table(tmp_path, partitions=2)
    claim = again.claim(0)
    assert claim.number == 2
    assert {row: claim.rows.status(row) for row in range(8)} == {
        0: "accepted",
        1: "",
        2: "accepted",
        3: "",
        4: "accepted",
        5: "",
        6: "dead",
        7: "",
    }
    assert len(again.committed()) == 6
    assert again.committed().counts == again.counts()


def test_the_number_of_partitions_is_fixed_when_the_table_is_made(tmp_path: Path) -> None:
    assert open_table(tmp_path, partitions=3).partitions == 3
    assert open_table(tmp_path, partitions=5).partitions == 3


def test_rows_of_a_rewritten_file_are_still_found(tmp_path: Path) -> None:
    table = open_table(tmp_path, partitions=2)
    for partition in (0, 1):
        table.claim(partition)
        for start in (0, 10):
            rows = range(start + partition, start + 10, 2)
            table.commit(partition, batch(rows))
    DeltaTable(tmp_path).optimize.compact()
    again = open_table(tmp_path)
    assert sorted(row for row in range(20) if row in again.claim(1).rows) == list(range(1, 20, 2))
    assert again.counts()["accepted"] == 20
    again.commit(1, batch([21]))
    assert keys(tmp_path) == [*range(20), 21]


def test_committed_rows_cost_a_claim_a_few_bytes_each(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    ticket = Ticket.unpack(table.ledger.number("weft/writer/0")).new_claim()
    count = 300_000
    rows = pa.table(
        {
            field.name: pa.array(range(count))
            if field.name == "row"
            else pa.nulls(count, field.type)
            for field in columns.FILE_SCHEMA
        }
    )
    path = tmp_path / "status=accepted" / "p0-1.parquet"
    path.parent.mkdir()
    pq.write_table(rows, path)
    part = Part(
        "status=accepted/p0-1.parquet", "accepted", count, path.stat().st_size, 0, count - 1
    )
    table.ledger.advance("weft/writer/0", old=0, new=ticket.pack(), actions=[part.action()])
    del rows
    tracemalloc.start()
    claim = table.claim(0)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(claim.rows) == count
    assert kept < 10 * count


# what a commit survives


def replace_write(table: OutputTable, write: Callable[..., None]) -> None:
    """Put something between the ledger and the store."""
    table.ledger.write = write  # type: ignore[method-assign]


def lose_acknowledgements(table: OutputTable, times: int) -> None:
    write = table.ledger.write
    left = [times]

    def lossy(*arguments: Any) -> None:
        write(*arguments)
        if left[0]:
            left[0] -= 1
            raise OSError("the connection was reset")

    replace_write(table, lossy)


def test_a_commit_whose_acknowledgement_is_lost_is_not_made_again(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    table.claim(0)
    lose_acknowledgements(table, 3)
    for start in range(0, 12, 3):
        assert table.commit(0, batch(range(start, start + 3))).rows == 3
    assert keys(tmp_path) == list(range(12))
    assert not table._seats[0].lost


def test_a_claim_whose_acknowledgement_is_lost_is_ours(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    lose_acknowledgements(table, 1)
    assert table.claim(0).number == 1
    table.commit(0, batch([1]))
    assert keys(tmp_path) == [1]


def test_an_older_writer_is_refused_after_a_claim(tmp_path: Path) -> None:
    old, new = open_table(tmp_path), open_table(tmp_path)
    old.claim(0)
    old.commit(0, batch([1]))
    assert 1 in new.claim(0).rows
    with pytest.raises(Superseded, match=r"partition 0 has a newer writer \(claim 2\)"):
        old.commit(0, batch([2]))
    new.commit(0, batch([2]))
    assert keys(tmp_path) == [1, 2]


def test_writers_of_other_partitions_do_not_disturb(tmp_path: Path) -> None:
    tables = [open_table(tmp_path, partitions=4) for _ in range(4)]
    for partition, table in enumerate(tables):
        table.claim(partition)

    def write(partition: int) -> None:
        for start in range(0, 200, 20):
            mine = range(start + partition, start + 20, 4)
            tables[partition].commit(partition, batch(mine))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert keys(tmp_path) == list(range(200))


def test_a_commit_that_landed_before_another_claim_stays_readable(tmp_path: Path) -> None:
    """Its writer learns only that it is superseded; its files must not be cleaned away."""
    old, new = open_table(tmp_path), open_table(tmp_path)
    old.claim(0)
    write = old.ledger.write
    taken: list[OutputTable] = []

    def land_and_be_superseded(*arguments: Any) -> None:
        write(*arguments)
        assert 1 in new.claim(0).rows
        taken.append(new)
        raise OSError("timed out")

    replace_write(old, land_and_be_superseded)
    with pytest.raises(Superseded):
        old.commit(0, batch([1]))
    assert taken
    new.commit(0, batch([2]))
    assert keys(tmp_path) == [1, 2]


def test_a_commit_given_up_that_is_in_the_table_is_left_out_of_the_next(tmp_path: Path) -> None:
    table = open_table(tmp_path, patience=0.2)
    table.claim(0)
    write = table.ledger.write

    class Deaf:
        """A table that cannot be looked at."""

        def __getattr__(self, name: str) -> object:
            if name == "update_incremental":
                raise OSError("no route to host")
            return getattr(real, name)

    real = table.ledger.table

    def land_and_go_deaf(*arguments: Any) -> None:
        write(*arguments)
        table.ledger.table = Deaf()  # type: ignore[assignment]
        raise OSError("timed out")

    replace_write(table, land_and_go_deaf)
    with pytest.raises(
        OutputError, match="the commit is not accepted, after 0 s of trying: no rout"
    ):
        table.commit(0, batch([1, 2]))
    table.ledger.table = real
    replace_write(table, write)
    commit = table.commit(0, batch([2, 3]))
    assert (commit.rows, commit.already) == (1, frozenset({2}))
    assert table.commit(0, batch([1, 4])).already == frozenset({1})
    assert keys(tmp_path) == [1, 2, 3, 4]


def test_a_commit_given_up_that_never_landed_is_made_by_the_next(tmp_path: Path) -> None:
    table = open_table(tmp_path, patience=0.2)
    table.claim(0)
    write = table.ledger.write

    def refuse(*arguments: Any) -> None:
        raise OSError("503 slow down")

    replace_write(table, refuse)
    with pytest.raises(OutputError, match="503 slow down"):
        table.commit(0, batch([1, 2]))
    replace_write(table, write)
    assert table.commit(0, batch([1, 2])).already == frozenset()
    assert keys(tmp_path) == [1, 2]


@pytest.mark.parametrize("second", [[1, 2], [1, 2, 3], [2, 3], [3]])
def test_a_commit_given_up_that_lands_under_the_next_doubles_nothing(
    tmp_path: Path, second: list[int]
) -> None:
    """The store applies a request long after its client has gone."""
    table = open_table(tmp_path, patience=0.2)
    table.claim(0)
    write = table.ledger.write
    late: list[tuple[Any, ...]] = []

    def swallow(*arguments: Any) -> None:
        late[:] = [arguments]
        raise OSError("timed out")

    def late_one_first(*arguments: Any) -> None:
        if late:
            write(*late.pop())
            # Ours goes for the same place in the log, from the snapshot of before.
        write(*arguments)

    replace_write(table, swallow)
    with pytest.raises(OutputError):
        table.commit(0, batch([1, 2]))
    replace_write(table, late_one_first)
    commit = table.commit(0, batch(second))
    assert commit.already == frozenset(second) & {1, 2}
    assert keys(tmp_path) == sorted({1, 2, *second})
    table.commit(0, batch({1, 2, 9} - set(second)))
    assert keys(tmp_path) == sorted({1, 2, 9, *second})


def test_a_store_that_fails_for_a_while_is_waited_for(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    table.claim(0)
    write, failures = table.ledger.write, iter(range(3))

    def flaky(*arguments: Any) -> None:
        if next(failures, None) is not None:
            raise OSError("connection refused")
        write(*arguments)

    replace_write(table, flaky)
    assert table.commit(0, batch([1])).rows == 1
    assert keys(tmp_path) == [1]


def test_of_sixteen_writers_that_move_a_number_on_one_wins_each_time(tmp_path: Path) -> None:
    tables = [open_table(tmp_path) for _ in range(16)]
    old = 0
    for turn in range(1, 9):

        def advance(who: int, turn: int = turn, old: int = old) -> int:
            ledger = tables[who].ledger
            if who % 2:
                ledger.refresh()
            return ledger.advance("contest", old=old, new=turn * 100 + who)

        with ThreadPoolExecutor(16) as pool:
            seen = set(pool.map(advance, range(16)))
        assert len(seen) == 1
        old = seen.pop()
        assert old // 100 == turn
        for table in tables:
            table.ledger.refresh()
    assert tables[0].version == 8


def test_writers_that_fight_for_a_partition_commit_no_row_twice(tmp_path: Path) -> None:
    open_table(tmp_path)

    def fight(who: int) -> int:
        superseded = 0
        table = open_table(tmp_path, patience=30)
        for _ in range(4):
            done = table.claim(0).rows
            left = [row for row in range(60) if row not in done]
            try:
                for start in range(0, len(left), 5):
                    table.commit(0, batch(left[start : start + 5]))
            except Superseded:
                superseded += 1
        return superseded

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(fight, range(8))) > 0
    last = open_table(tmp_path)
    done = last.claim(0).rows
    if left := [row for row in range(60) if row not in done]:
        last.commit(0, batch(left))
    assert keys(tmp_path) == list(range(60))


def test_generations_rise_for_each_name(tmp_path: Path) -> None:
    tables = [open_table(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        given = list(
            pool.map(lambda at: claim_generation(tables[at % 4], "source"), range(4), timeout=60)
        )
    given += [claim_generation(tables[0], "source") for _ in range(3)]
    assert len(set(given)) == 7
    assert given[4:] == sorted(given[4:])
    assert claim_generation(tables[1], "other") == 1


# what a commit refuses, and what it makes of damaged rows


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (batch([2, 2]), "a batch holds a row twice"),
        (batch([1]), "a batch holds rows that are not of partition 0"),
        (batch([2], "lost"), "a row's status must be one of accepted, rejected, dead"),
    ],
)
def test_a_batch_that_breaks_the_rules_is_refused(
    tmp_path: Path, rows: list[Finished], problem: str
) -> None:
    table = open_table(tmp_path, partitions=2)
    table.claim(0)
    with pytest.raises(ValueError, match=problem):
        table.commit(0, rows)
    assert keys(tmp_path) == []


def damaged(row: int) -> Finished:
    return Finished(row, "accepted", "", b"\xc1 no row", [], 1, 1)


def with_a_seed_too_large(row: int) -> Finished:
    segment = trace(row)[0]
    segment.models[0].seed = (1 << 64) - 1
    return Finished(
        row, "rejected", "no", encode_row(dialogue(row)), [encode_segment(segment)], 1, 1
    )


@pytest.mark.parametrize("make", [damaged, with_a_seed_too_large])
def test_a_row_that_cannot_be_written_becomes_a_dead_letter(
    tmp_path: Path, make: Callable[[int], Finished]
) -> None:
    table = open_table(tmp_path)
    table.claim(0)
    rows = [*batch(range(5)), make(5), *batch(range(6, 9))]
    body = rows[5].body
    table.commit(0, rows)
    assert rows[5].status == "dead"
    assert "could not be written" in rows[5].reason
    assert keys(tmp_path) == list(range(9))
    assert table.counts() == {"accepted": 8, "rejected": 0, "dead": 1}
    (kept,) = DeltaTable(tmp_path).to_pyarrow_table(filters=[("status", "=", "dead")]).to_pylist()
    assert kept["reason"] == rows[5].reason
    assert json.loads(kept["data"])["body"] == msgspec.to_builtins(body)


def test_a_large_batch_is_written_in_pieces(tmp_path: Path) -> None:
    rows = [finished(n, ("accepted", "dead")[n % 2], length=20_000) for n in range(400)]
    assert len(list(columns.chunks(rows))) > 50
    table = open_table(tmp_path)
    table.claim(0)
    table.commit(0, rows)
    assert keys(tmp_path) == list(range(400))
    (file,) = (tmp_path / "status=dead").glob("*.parquet")
    assert pq.ParquetFile(file).num_row_groups > 1


# opening


def test_processes_that_open_at_once_get_the_same_table(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: open_table(tmp_path / "new"), range(8)))
    assert len({table.ledger.table.metadata().id for table in tables}) == 1


def test_a_start_that_was_killed_while_making_the_table_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / "_commit_1234.json.tmp").write_text("{")
    (tmp_path / ".weft-1.tmp").touch()
    table = open_table(tmp_path)
    table.claim(0)
    table.commit(0, batch([1]))
    assert keys(tmp_path) == [1]


def other_pipeline(at: Path) -> str:
    OutputTable.open(str(at), {}, pipeline="translation")
    return str(at)


def foreign_table(at: Path) -> str:
    write_deltalake(at, pa.table({"a": [1]}))
    return str(at)


def later_format(at: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "FORMAT", "99")
        OutputTable.open(str(at), {}, pipeline="support")
    return str(at)


def other_files(at: Path) -> str:
    (at / "thesis.docx").touch()
    return str(at)


def under_a_file(at: Path) -> str:
    (at / "file").touch()
    return str(at / "file" / "out")


def broken_log(at: Path) -> str:
    (at / "_delta_log").mkdir()
    (at / "_delta_log" / f"{0:020}.json").write_text("no json")
    return str(at)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (other_pipeline, "{at}: is the output of the pipeline 'translation', not of 'support'; "),
        (foreign_table, "{at}: holds a Delta table that Weft did not make; choose another outp"),
        (
            later_format,
            "{at}: was made by another version of Weft (format 99, this one writes 3)",
        ),
        (other_files, "{at}: holds something else (thesis.docx); choose an empty folder as outp"),
        (under_a_file, "{at}/file/out: cannot be written to: Not a directory"),
        (broken_log, "{at}: cannot be opened: "),
        (lambda at: "/proc/weft", "/proc/weft: cannot be written to: "),
        (lambda at: "memory://x", "memory://x: the output must be a local path or one of s3://"),
    ],
)
def test_an_output_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], str], problem: str
) -> None:
    uri = make(tmp_path)
    with pytest.raises(OutputError) as refused:
        OutputTable.open(uri, {}, pipeline="support")
    text = str(refused.value)
    assert text.startswith(problem.format(at=tmp_path))
    assert "\n" not in text
    assert len(text) < 600


def test_tickets_order_claims_and_commits() -> None:
    none = Ticket.unpack(None)
    first = none.new_claim()
    assert none < first < first.next() < first.new_claim()
    for ticket in (none, first, first.next(), Ticket((1 << 19) - 1, (1 << 20) - 1, (1 << 24) - 1)):
        assert Ticket.unpack(ticket.pack()) == ticket
        assert 0 <= ticket.pack() < 1 << 63
    with pytest.raises(OverflowError):
        Ticket(1, 0, (1 << 24) - 1).next()
