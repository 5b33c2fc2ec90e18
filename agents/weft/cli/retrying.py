"""Finding the dead rows that `weft retry` was asked for, and putting them back."""

from __future__ import annotations

from collections.abc import Sequence

from weft.cli.reasons import grouped
from weft.cli.refused import Refused, parted
from weft.cli.stored import Stored
from weft.data.errors import OutputError
from weft.data.retry import DeadRow, dead_rows, put_back
from weft.data.storage import from_environment
from weft.data.table import OutputTable
from weft_api.errors import likeliest

KINDS_SHOWN = 5
IDS_SHOWN = 5


def retry(uri: str, row_ids: Sequence[str], *, every: bool, dry_run: bool) -> None:
    """The whole command. Raises `Refused`."""
    if every == bool(row_ids):
        raise Refused(
            "retry: which rows? name dead ones with --row ID, or take all of them with --all"
        )
    try:
        stored = Stored(uri)
        table = OutputTable.open(stored.uri, from_environment(), pipeline=stored.pipeline)
        try:
            dead = list(dead_rows(table))
            rows = dead if every else _named(stored, uri, row_ids, dead)
            back = len(rows) if dry_run else put_back(table, rows)
        finally:
            table.close()
    except OutputError as error:
        problem, fix = parted(str(error), "name the folder that weft run wrote to")
        raise Refused(f"retry: {problem}; {fix}") from None
    if not rows:
        print("no row is dead: nothing to put back")
        return
    _tell(rows, back, dry_run=dry_run)


def _named(
    stored: Stored, uri: str, row_ids: Sequence[str], dead: Sequence[DeadRow]
) -> list[DeadRow]:
    """The rows of these ids (or places in the source). Raises `Refused` for all that are none."""
    by_id = {row.id: row for row in dead}
    by_place = {str(row.row): row for row in dead}
    found: dict[int, DeadRow] = {}
    wrong = []
    for name in row_ids:
        row = by_id.get(name) or by_place.get(name)
        if row is not None:
            found[row.row] = row
        elif ended := stored.by_id(name):
            wrong.append(
                f"retry: {uri}: row {name!r} is {ended['status']}; only dead rows can be put back"
            )
        else:
            likely = likeliest(name, list(by_id))
            hint = (
                f'did you mean "{likely}"?' if likely else "weft retry --all --dry-run lists them"
            )
            wrong.append(f"retry: {uri} has no dead row {name!r}; {hint}")
    if wrong:
        raise Refused(wrong)
    return list(found.values())


def _tell(rows: Sequence[DeadRow], back: int, *, dry_run: bool) -> None:
    names = ", ".join(row.id for row in rows[:IDS_SHOWN])
    more = f" and {len(rows) - IDS_SHOWN:,} more" if len(rows) > IDS_SHOWN else ""
    count = f"{back:,} dead row" + ("s" if back != 1 else "")
    print(f"{count} {'would be put' if dry_run else 'put'} back: {names}{more}")
    kinds, rest = grouped((row.reason for row in rows), KINDS_SHOWN)
    for number, reason in kinds:
        print(f"  {number:,} × {reason}")
    if rest:
        print(f"  {rest:,} × other reasons")
    if not dry_run:
        print("the next weft run with the same manifests makes them again")
