"""The dataset, read back by the library that users read it with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError


@dataclass(frozen=True)
class Dataset:
    """Rows of the output, whatever their status."""

    rows: list[dict[str, Any]]

    @classmethod
    def read(cls, uri: str | Path, storage: Mapping[str, str] | None = None) -> Dataset:
        """No rows where there is no table yet."""
        try:
            table = DeltaTable(str(uri), storage_options=dict(storage or {}))
        except TableNotFoundError:
            return cls([])
        columns = ["row", "id", "status", "reason", "provenance", "epoch", "attempts"]
        columns += ["messages", "tools", "committed"]
        return cls(table.to_pyarrow_dataset().to_table(columns=columns).to_pylist())

    def count(self, status: str) -> int:
        return sum(row["status"] == status for row in self.rows)

    def assert_exactly(self, ids: list[str]) -> None:
        """Every row of the source is in it once, and nothing else."""
        there, wanted = Counter(row["id"] for row in self.rows), Counter(ids)
        missing, extra = wanted - there, there - wanted
        assert not missing, f"{missing.total()} rows are missing, as {sorted(missing)[:5]}"
        assert not extra, f"{extra.total()} rows are too many, as {sorted(extra)[:5]}"
        assert not self.count("dead"), [r["reason"] for r in self.rows if r["status"] == "dead"][:3]

    def met(self, field: str, pool: str | None = None) -> Counter[str]:
        """In how many rows a field of the provenance (instance, image, revision, …) has a value."""
        return Counter(
            value
            for row in self.rows
            for value in {hop[field] for hop in row["provenance"] if pool in (None, hop["pool"])}
        )


def source_ids(path: Path) -> list[str]:
    """Ids of a JSONL source whose idField is `id`."""
    with path.open() as lines:
        return [json.loads(line)["id"] for line in lines]
