"""Progress as the attack sees it: commits that brought rows, and nothing else."""

from __future__ import annotations

from pathlib import Path

from attacked_rows import finished

from weft.attack.commits import Commits
from weft.data.table import OutputTable


def test_rows_count_and_claims_do_not(tmp_path: Path) -> None:
    commits = Commits(tmp_path / "out")
    assert commits.count() == 0
    table = OutputTable.open(str(tmp_path / "out"), {}, pipeline="attacked")
    table.claim(0)
    assert commits.count() == 0
    for number in range(30):  # Past a checkpoint of the log.
        table.commit(0, [finished(number)])
        if number % 7 == 0:
            assert commits.count() == number + 1
    table.claim(0)
    table.close()
    assert commits.count() == 30
    assert Commits(tmp_path / "out").count() == 30
