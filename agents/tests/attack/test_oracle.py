"""The judge of the attack's tables: it passes what is right, and finds each fault planted in a real
table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from attacked_rows import finished, segments_of
from deltalake import DeltaTable, write_deltalake

from weft.attack import oracle
from weft.attack.expected import LARGE_BYTES, fate_of
from weft.attack.pipeline import WRITERS
from weft.data.table import OutputTable
from weft.protocol.view import partition_of
from weft.protocol.writer import Finished
from weft.row import Row, decode_row, encode_row
from weft.segment import Segment

ROWS = 60
"""Enough for every kind of fate."""


def write(output: Path, rows: list[Finished]) -> Path:
    table = OutputTable.open(str(output), {}, pipeline="attacked", partitions=WRITERS)
    for partition in range(WRITERS):
        table.claim(partition)
        mine = [row for row in rows if partition_of(row.row, WRITERS) == partition]
        half = len(mine) // 2
        table.commit(partition, mine[:half])
        table.commit(partition, mine[half:])
    table.close()
    return output


def faults(output: Path, *, whole: bool = True) -> list[str]:
    return oracle.judge(oracle.read(output), expected=ROWS, whole=whole) + oracle.audit(output)


@pytest.fixture
def right() -> list[Finished]:
    return [finished(number) for number in range(ROWS)]


def test_a_table_without_a_fault_passes(tmp_path: Path, right: list[Finished]) -> None:
    assert {fate_of(number).status for number in range(ROWS)} == {"accepted", "rejected", "dead"}
    assert any(fate_of(number).large for number in range(ROWS))
    assert faults(write(tmp_path / "out", right)) == []


def test_no_table_lacks_every_row(tmp_path: Path) -> None:
    assert faults(tmp_path / "out", whole=False) == []
    assert len(faults(tmp_path / "out")) == oracle.SHOWN + 1


def test_a_lost_row_is_found_at_the_end_and_is_none_before(
    tmp_path: Path, right: list[Finished]
) -> None:
    output = write(tmp_path / "out", right[:40] + right[41:])
    assert faults(output) == ["row-000040 is lost"]
    assert faults(output, whole=False) == []


def test_a_row_of_nobody_is_found(tmp_path: Path, right: list[Finished]) -> None:
    output = write(tmp_path / "out", [*right, finished(ROWS)])
    assert faults(output) == [f"row-{ROWS:06} is not a row of the source"]


def test_a_row_written_twice_is_found(tmp_path: Path, right: list[Finished]) -> None:
    """Beside our own commits, since those refuse it: as a writer without a fence would."""
    output = write(tmp_path / "out", right)
    rows = DeltaTable(output).to_pyarrow_table()
    again = rows.filter(pa.compute.equal(rows["id"], "row-000009"))
    write_deltalake(output, again, mode="append")
    told = faults(output)
    assert told[0] == "row-000009 is in the table 2 times"
    assert all(line.startswith("the chain: ") for line in told[1:])
    assert len(told) > 1


def test_rows_removed_behind_our_back_are_found_by_the_chain(
    tmp_path: Path, right: list[Finished]
) -> None:
    output = write(tmp_path / "out", right)
    DeltaTable(output).delete("id = 'row-000003'")
    found = faults(output)
    assert found[0] == "row-000003 is lost"
    assert any(line.startswith("the chain: ") for line in found)


@pytest.mark.parametrize(
    ("number", "hops", "told"),
    [
        (2, lambda way: way[:2] + way[3:], "its segments are of"),
        (2, lambda way: [way[2], way[1], way[0], *way[3:]], "its hops are numbered"),
        (2, lambda way: [way[0], *way], "its segments are of"),
        (2, lambda way: [*way[:3], changed(way[3], epoch=1), *way[4:]], "its tags do not rise"),
        (2, lambda way: [changed(way[0], fork=3), *way[1:]], "its tags do not rise"),
        (2, lambda way: [*way[:3], changed(way[3], started=1e9), *way[4:]], "hop 3 began before"),
        (2, lambda way: [*way[:5], changed(way[5], hop=7)], "its hops are numbered"),
    ],
)
def test_an_order_that_is_broken_is_found(
    tmp_path: Path,
    right: list[Finished],
    number: int,
    hops: Callable[[list[Segment]], list[Segment]],
    told: str,
) -> None:
    right[number] = finished(number, hops(segments_of(number)))
    (fault,) = faults(write(tmp_path / "out", right))
    assert fault.startswith(f"row-{number:06}: {told}")


def changed(segment: Segment, **fields: float) -> Segment:
    return msgspec.structs.replace(segment, **fields)


def test_tags_that_rise_pass(tmp_path: Path, right: list[Finished]) -> None:
    way = segments_of(2)
    right[2] = finished(2, [*way[:2], *(changed(hop, fork=1) for hop in way[2:])])
    assert faults(write(tmp_path / "out", right)) == []


@pytest.mark.parametrize(
    ("number", "end", "told"),
    [
        (1, {"status": "rejected"}, "is rejected (), not accepted"),
        (1, {"status": "dead", "reason": "it died"}, "is dead (it died), not accepted"),
        (5, {"status": "accepted"}, "is accepted (), not rejected"),
        (7, {"status": "accepted"}, "not dead"),
        (7, {"reason": "OSError: disk full"}, "is dead for another reason: OSError: disk full"),
    ],
)
def test_an_end_that_is_not_the_rows_own_is_found(
    tmp_path: Path, right: list[Finished], number: int, end: dict[str, str], told: str
) -> None:
    right[number] = finished(number, **end)
    (fault,) = faults(write(tmp_path / "out", right))
    assert told in fault


def _shorter(row: Row) -> None:
    row.data["large"] = "x" * (LARGE_BYTES - 1)


def _trail(row: Row) -> None:
    row.data["trail"] = [*row.data["trail"], "draft"]


def _message(row: Row) -> None:
    row.messages.pop()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_shorter, "its large part is damaged"),
        (_trail, "its trail is"),
        (_message, "has 5 messages after 6 hops"),
    ],
)
def test_content_that_is_not_what_the_hops_made_is_found(
    tmp_path: Path, right: list[Finished], harm: Callable[[Row], None], told: str
) -> None:
    number = 5
    body = decode_row(right[number].body)
    harm(body)
    right[number].body = encode_row(body)
    (fault,) = faults(write(tmp_path / "out", right))
    assert told in fault
