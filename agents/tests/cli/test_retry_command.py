"""`weft retry`: which rows it takes, what it says, and that they are made again."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Weft
from deltalake import DeltaTable

from weft.data.table import OutputTable
from weft.protocol.writer import Finished
from weft.row import Row, encode_row
from weft.segment import Segment, encode_segment


def ends(output: Path) -> dict[str, str]:
    rows = DeltaTable(output).to_pyarrow_table(columns=["id", "status"]).to_pylist()
    return {row["id"]: row["status"] for row in rows}


def finished(number: int, status: str = "accepted") -> Finished:
    hop = Segment("drafter", "drafter", "drafter-0", "", "", 1, 0, 0, 100.0, 1.5)
    reason = f"step drafter: ValueError: case {number} is odd (attempt 3 of 3)"
    return Finished(
        number,
        status,
        reason if status == "dead" else "",
        encode_row(Row(f"case-{number}", {})),
        [encode_segment(hop)],
        3,
        1,
    )


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    table = OutputTable.open(str(path), {}, pipeline="answers")
    table.claim(0)
    table.commit(0, [finished(row, "dead" if row % 2 else "accepted") for row in range(6)])
    table.close()
    return path


def test_a_dry_run_names_rows_and_reasons_and_changes_nothing(output: Path, weft: Weft) -> None:
    before = ends(output)
    result = weft("retry", output, "--all", "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "3 dead rows would be put back: case-1, case-3, case-5",
        "  3 × step drafter: ValueError: case 1 is odd (attempt 3 of 3)",
    ]
    assert ends(output) == before


def test_all_dead_rows_are_put_back_and_no_other(output: Path, weft: Weft) -> None:
    assert weft("retry", output, "--all").out.splitlines()[0] == (
        "3 dead rows put back: case-1, case-3, case-5"
    )
    assert ends(output) == {"case-0": "accepted", "case-2": "accepted", "case-4": "accepted"}
    again = weft("retry", output, "--all")
    assert (again.code, again.out) == (0, "no row is dead: nothing to put back\n")


def test_rows_are_named_by_id_or_place_and_show_what_they_were(output: Path, weft: Weft) -> None:
    assert weft("retry", output, "--row", "case-1", "--row", "3").code == 0
    assert ends(output).keys() == {"case-0", "case-2", "case-4", "case-5"}
    table = OutputTable.open(str(output), {}, pipeline="answers")
    table.claim(0)
    table.commit(0, [finished(1), finished(3)])
    table.close()
    assert ends(output)["case-1"] == "accepted"
    shown = " ".join(weft("show", output, "case-1", "--path").out.split())
    assert 'retried: [{"reason": "step drafter: ValueError: case 1 is odd' in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "retry: which rows? name dead ones with --row ID, or take all of them with --all"),
        (["--all", "--row", "case-1"], "retry: which rows? name dead ones with --row ID, or take"),
        (["--row", "case-2"], "row 'case-2' is accepted; only dead rows can be put back"),
        (["--row", "case-7"], "has no dead row 'case-7'; did you mean \"case-"),
        (["--row", "zzz"], "has no dead row 'zzz'; weft retry --all --dry-run lists them"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    output: Path, weft: Weft, arguments: list[str], line: str
) -> None:
    before = ends(output)
    result = weft("retry", output, *arguments)
    assert result.code == 2
    assert len(result.lines) == 1
    assert line in result.lines[0]
    assert ends(output) == before


def test_a_folder_without_an_output_is_refused(tmp_path: Path, weft: Weft) -> None:
    result = weft("retry", tmp_path / "nothing", "--all")
    assert result.code == 2
    assert "holds no output of Weft" in result.lines[0]
    assert not (tmp_path / "nothing").exists()
