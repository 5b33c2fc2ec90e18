"""Dead rows out of the table again, so that the next run makes them: each still ends once.

The transaction that removes rows claims their writer partitions as well. So a writer that is at
work meanwhile, and counts the rows as committed, is refused at its next commit, joins anew and
reads the table as it is then. A source that is at work goes on counting them as dead: the next one
issues them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow.dataset as arrow
from deltalake import CommitProperties, PostCommitHookProperties, Transaction

from weft.data import retried
from weft.data.retried import Earlier
from weft.data.table import OutputTable, application_of
from weft.data.ticket import Ticket
from weft.protocol.view import partition_of

AT_ONCE = 2000
"""Rows of one transaction: they are named one by one."""
_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
_COLUMNS = ["row", "id", "reason", "attempts", "committed", "chain"]


class DeadRow(msgspec.Struct, frozen=True):
    """A dead letter, without its body."""

    row: int
    id: str
    reason: str
    attempts: int
    committed: str
    sequence: int = 0
    digest: str = ""
    link: str = ""


def dead_rows(table: OutputTable) -> Iterator[DeadRow]:
    """All dead rows as of now, in the order of the source. Raises `OutputError`."""
    table.ledger.refresh()
    yield from table.patiently(lambda: _dead(table, None), "the dead rows cannot be read")


def put_back(table: OutputTable, rows: Sequence[DeadRow]) -> int:
    """Take the rows out of the table, those that are still dead; returns how many were.

    Killed in between, some are out and the others are not; call again. Raises `OutputError`."""
    return sum(
        _put_back(table, rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE)
    )


def _put_back(table: OutputTable, rows: Sequence[DeadRow]) -> int:
    ledger = table.ledger
    now = datetime.now(UTC).isoformat()
    ends = [
        Earlier(r.row, r.id, r.reason, r.committed, now, r.attempts, r.sequence, r.digest, r.link)
        for r in rows
    ]
    table.patiently(lambda: retried.keep(table.files, ends), "the rows' ends cannot be recorded")
    keys = [row.row for row in rows]
    tried = False

    def step() -> int:
        nonlocal tried
        ledger.refresh()
        left = [row.row for row in _dead(table, keys)]
        if not left:
            # An error does not say that the try before has failed.
            return len(rows) if tried else 0
        partitions = sorted({partition_of(row, table.partitions) for row in left})
        names = [application_of(partition) for partition in partitions]
        claims = [(name, Ticket.unpack(ledger.number(name)).new_claim().pack()) for name in names]
        tried = True
        ledger.table.delete(
            f"status = 'dead' AND row IN ({', '.join(map(str, left))})",
            commit_properties=CommitProperties(
                app_transactions=[Transaction(*claim) for claim in claims]
            ),
            post_commithook_properties=_HOOKS,
        )
        return len(left)

    return table.patiently(step, "the rows cannot be put back")


def _dead(table: OutputTable, keys: list[int] | None) -> list[DeadRow]:
    chosen: Any = arrow.field("status") == "dead"
    if keys is not None:
        chosen &= arrow.field("row").isin(keys)
    data = table.ledger.table.to_pyarrow_dataset()
    found = data.to_table(columns=_COLUMNS, filter=chosen).sort_by("row").to_pylist()
    return [
        DeadRow(
            row["row"],
            row["id"],
            row["reason"] or "",
            row["attempts"] or 1,
            row["committed"].isoformat(),
            **(row["chain"] or {}),
        )
        for row in found
    ]
