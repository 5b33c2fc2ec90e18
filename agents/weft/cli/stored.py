"""Reading the rows of an output: whole ones by id, and what is counted over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow.compute as pc
import pyarrow.dataset as arrow
from deltalake import DeltaTable

from weft.data.columns import STATUSES
from weft.data.layout import Properties, open_existing
from weft.data.readback import active_files
from weft.data.storage import absolute, from_environment

_JSON = ("tools", "source", "data")


class Stored:
    """An output as it is now. Raises `OutputError` where there is none that can be read."""

    def __init__(self, uri: str) -> None:
        self.uri = absolute(uri)
        self._table: DeltaTable = open_existing(self.uri, from_environment())
        self.pipeline = Properties.of(self._table, self.uri).pipeline

    def counts(self) -> dict[str, int]:
        """Rows by status."""
        counts = dict.fromkeys(STATUSES, 0)
        data = self._data()
        for file in active_files(self._table):
            rows = file.rows
            if rows is None:
                return {s: data.count_rows(filter=arrow.field("status") == s) for s in STATUSES}
            counts[file.status] += rows
        return counts

    def by_id(self, name: str, status: str | None = None) -> dict[str, Any] | None:
        """The row of that id; or, where no row has it, of that number."""
        found = self.as_stored(name, status)
        return decoded(found) if found else None

    def as_stored(self, name: str, status: str | None = None) -> dict[str, Any] | None:
        """The same, with its JSON columns as the texts that they are."""
        found = self._one(arrow.field("id") == name, status)
        if found is None and name.isdecimal() and len(name) < 19:
            found = self._one(arrow.field("row") == int(name), status)
        return found

    def by_place(self, number: int, status: str | None = None) -> dict[str, Any] | None:
        """The row that stands there in the source, counted from 0."""
        found = self._one(arrow.field("row") == number, status)
        return decoded(found) if found else None

    def first(self, status: str) -> dict[str, Any] | None:
        """The row of that status that stands first in the source."""
        numbers = self._data().to_table(columns=["row"], filter=arrow.field("status") == status)[
            "row"
        ]
        if not len(numbers):
            return None
        return self.by_place(pc.min(numbers).as_py(), status)

    def some_ids(self, count: int) -> list[str]:
        """A few ids, so that an error can show what they look like."""
        return [str(name) for name in self._data().head(count, columns=["id"])["id"].to_pylist()]

    def reasons(self, status: str) -> Iterator[str]:
        """Why each row of a status ended so."""
        chosen = arrow.field("status") == status
        for batch in self._data().to_batches(columns=["reason"], filter=chosen):
            yield from (reason or "" for reason in batch.column(0).to_pylist())

    def _data(self) -> Any:
        return self._table.to_pyarrow_dataset()

    def _one(self, condition: Any, status: str | None) -> dict[str, Any] | None:
        if status is not None:
            condition &= arrow.field("status") == status
        rows = self._data().to_table(filter=condition).slice(0, 1).to_pylist()
        return rows[0] if rows else None


def decoded(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its JSON columns as values."""
    for name in _JSON:
        row[name] = msgspec.json.decode(row[name] or "null")
    for segment in row["provenance"] or []:
        segment["notes"] = msgspec.json.decode(segment["notes"] or "null")
        for call in segment["models"] or []:
            call["sampling"] = msgspec.json.decode(call["sampling"] or "null")
        for verdict in segment["verdicts"] or []:
            verdict["counts"] = msgspec.json.decode(verdict["counts"] or "null")
    return row
