"""Dead rows put back: out of the table at once, made again once, and on record."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deltalake import DeltaTable
from finished_rows import batch

from weft.data.errors import Superseded
from weft.data.retry import AT_ONCE, dead_rows, put_back
from weft.data.table import OutputTable

KILLED = """
import os, sys
from deltalake import DeltaTable
from weft.data.retry import dead_rows, put_back
from weft.data.table import OutputTable

real = DeltaTable.delete
def delete(self, *args, **options):
    if sys.argv[2] == "after":
        real(self, *args, **options)
    os._exit(9)
DeltaTable.delete = delete
table = OutputTable.open(sys.argv[1], {}, pipeline="support")
put_back(table, list(dead_rows(table)))
"""


def opened(folder: Path, partitions: int = 1) -> OutputTable:
    return OutputTable.open(
        str(folder / "out"), {}, pipeline="support", partitions=partitions, patience=20
    )


def filled(folder: Path, *, partitions: int = 1) -> OutputTable:
    """Rows 0–9 accepted, 10–15 dead."""
    table = opened(folder, partitions)
    for partition in range(partitions):
        table.claim(partition)
        mine = [row for row in range(16) if row % partitions == partition]
        table.commit(partition, batch([row for row in mine if row < 10]))
        table.commit(partition, batch([row for row in mine if row >= 10], "dead"))
    return table


def ends(folder: Path) -> dict[int, str]:
    rows = DeltaTable(folder / "out").to_pyarrow_table(columns=["row", "status"]).to_pylist()
    found = {row["row"]: row["status"] for row in rows}
    assert len(found) == len(rows)
    return found


def note(folder: Path, row: int) -> list[dict[str, object]]:
    """What the row's path says of its earlier ends."""
    table = DeltaTable(folder / "out").to_pyarrow_table(
        columns=["provenance"], filters=[("row", "=", row)]
    )
    notes = json.loads(table.to_pylist()[0]["provenance"][0]["notes"])
    found: list[dict[str, object]] = notes.get("retried", [])
    return found


def test_rows_put_back_leave_the_table_and_the_others_stay(tmp_path: Path) -> None:
    table = filled(tmp_path)
    chosen = [row for row in dead_rows(table) if row.row in (11, 13)]
    assert [(row.id, row.reason) for row in chosen] == [
        ("ticket-11", "because it was dead"),
        ("ticket-13", "because it was dead"),
    ]
    assert put_back(table, chosen) == 2
    left = ends(tmp_path)
    assert sorted(left) == [*range(11), 12, 14, 15]
    assert put_back(table, chosen) == 0
    assert ends(tmp_path) == left


def test_a_row_made_again_says_how_it_had_ended_before(tmp_path: Path) -> None:
    table = filled(tmp_path)
    first = next(dead_rows(table))
    put_back(table, [first])
    again = opened(tmp_path)
    assert 10 not in again.claim(0).rows
    again.commit(0, batch([10], "dead"))
    second = next(dead_rows(again))
    put_back(again, [second])
    last = opened(tmp_path)
    last.claim(0)
    last.commit(0, batch([10]))
    assert ends(tmp_path)[10] == "accepted"
    told = note(tmp_path, 10)
    assert [(end["reason"], end["committed"]) for end in told] == [
        ("because it was dead", first.committed),
        ("because it was dead", second.committed),
    ]
    assert note(tmp_path, 12) == []


def test_a_writer_at_work_is_refused_and_finds_the_rows_gone(tmp_path: Path) -> None:
    writer = filled(tmp_path, partitions=2)
    table = opened(tmp_path, 2)
    put_back(table, [row for row in dead_rows(table) if row.row == 11])
    writer.commit(0, batch([16]))  # The other partition's goes on.
    with pytest.raises(Superseded):
        writer.commit(1, batch([17]))
    claim = writer.claim(1)
    assert 11 not in claim.rows
    assert 13 in claim.rows
    writer.commit(1, batch([11, 17]))
    assert sorted(ends(tmp_path)) == list(range(18))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_retry_killed_at_its_transaction_is_simply_done_again(
    tmp_path: Path, moment: str
) -> None:
    filled(tmp_path).close()
    died = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "out"), moment], timeout=60, check=False
    )
    assert died.returncode == 9
    assert len(ends(tmp_path)) == (16 if moment == "before" else 10)
    table = opened(tmp_path)
    assert put_back(table, list(dead_rows(table))) == (6 if moment == "before" else 0)
    assert len(ends(tmp_path)) == 10
    table.claim(0)
    table.commit(0, batch(range(10, 16)))
    assert set(ends(tmp_path).values()) == {"accepted"}
    assert len(note(tmp_path, 10)) == 1


def test_retries_and_writers_at_once_leave_each_row_once(tmp_path: Path) -> None:
    filled(tmp_path, partitions=4).close()
    done = threading.Event()

    def write(partition: int) -> int:
        """Commits, and makes again what has been put back, until nothing is dead any more."""
        table, claims = opened(tmp_path, 4), 0
        number = 100 + partition
        while True:
            over = done.is_set()
            claim = table.claim(partition)
            claims += 1
            missing = [r for r in range(16) if r % 4 == partition and r not in claim.rows]
            try:
                table.commit(partition, batch(missing))
                while not over and not done.wait(0.1):
                    table.commit(partition, batch([number]))
                    number += 4
            except Superseded:
                continue
            if over:
                return claims

    def retry(_: int) -> int:
        table = opened(tmp_path, 4)
        return sum(put_back(table, [row]) for row in dead_rows(table))

    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(write, partition) for partition in range(4)]
        retries = [pool.submit(retry, number) for number in range(2)]
        back = sum(retrying.result(60) for retrying in retries)
        done.set()
        claims = sum(writer.result(60) for writer in writers)
    assert back >= 6
    assert claims > 4
    found = ends(tmp_path)
    assert set(range(16)) <= set(found)
    assert set(found.values()) == {"accepted"}


def test_more_rows_than_one_transaction_takes_are_all_put_back(tmp_path: Path) -> None:
    table = opened(tmp_path)
    table.claim(0)
    table.commit(0, batch(range(AT_ONCE + 5), "dead"))
    version = table.version
    assert put_back(table, list(dead_rows(table))) == AT_ONCE + 5
    assert ends(tmp_path) == {}
    assert table.version == version + 2
