"""What the committed rows themselves tell of a run: each hop with its place, start and length."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow.compute as pc
from deltalake import DeltaTable


class Hop(msgspec.Struct):
    """Times: Unix seconds; `seconds`: how long it took."""

    row: int
    number: int
    instance: str
    epoch: int
    fork: int
    started: float
    seconds: float
    calls: float
    """Of `seconds`: spent in calls of the model."""


def read_hops(output: Path) -> list[list[Hop]]:
    """The hops of each row, in their order."""
    rows = []
    table = DeltaTable(output).to_pyarrow_dataset()
    for batch in table.to_batches(columns=["row", "provenance"]):
        for row, trace in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            rows.append(
                [
                    Hop(
                        row,
                        one["hop"],
                        one["instance"],
                        one["epoch"],
                        one["fork"],
                        one["started"],
                        one["seconds"],
                        sum(call["seconds"] for call in one["models"] or []),
                    )
                    for one in trace
                ]
            )
    return rows


def hops_since(output: str | Path, moment: float) -> int:
    """Hops of committed rows that began after a moment (Unix seconds)."""
    count = 0
    table = DeltaTable(output).to_pyarrow_dataset()
    for batch in table.to_batches(columns=["provenance"]):
        starts = pc.struct_field(pc.list_flatten(batch.column(0)), "started")
        count += pc.sum(pc.greater_equal(starts, moment)).as_py() or 0
    return count


def busy_share(intervals: list[tuple[float, float]], slots: int, until: float) -> float:
    """How much of `slots` the intervals (start, end) fill, from the first start to `until`."""
    since = min(start for start, _ in intervals)
    busy = sum(max(0.0, min(end, until) - start) for start, end in intervals)
    return busy / (slots * (until - since))
