"""Judges a table: every row once, with its end, its whole path in order, and its tags rising."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.fs as arrow_fs
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler

from weft.attack.expected import LARGE_BYTES, Fate, fate_of
from weft.attack.pipeline import WRITERS, row_id
from weft.data import audit as chain

COLUMNS = ["row", "id", "status", "reason", "messages", "data", "provenance", "committed"]
SHOWN = 12


def read(output: Path) -> list[dict[str, Any]]:
    """All rows of the table, of any status; none where there is no table yet."""
    if not DeltaTable.is_deltatable(str(output)):
        return []
    rows: list[dict[str, Any]] = DeltaTable(output).to_pyarrow_table(columns=COLUMNS).to_pylist()
    for row in rows:
        row["data"] = json.loads(row["data"])
    return rows


def audit(output: Path) -> list[str]:
    """What `weft audit` would find: the chain of each partition, walked from its beginning."""
    if not DeltaTable.is_deltatable(str(output)):
        return []
    files: Any = arrow_fs.PyFileSystem(DeltaStorageHandler(str(output.resolve())))
    found = chain.audit(DeltaTable(output), files, partitions=WRITERS, earlier=[])
    return [f"the chain: {finding.what}" for finding in found.findings[:SHOWN]]


def judge(rows: Sequence[Mapping[str, Any]], *, expected: int, whole: bool) -> list[str]:
    """What is wrong with the rows of a source of `expected` rows; `whole`: all must be there.

    At most a dozen lines."""
    faults: list[str] = []
    times = Counter(row["id"] for row in rows)
    wanted = {row_id(number) for number in range(expected)}
    faults += [f"{name} is in the table {n} times" for name, n in times.items() if n > 1]
    faults += [f"{name} is not a row of the source" for name in times.keys() - wanted]
    if whole:
        faults += [f"{name} is lost" for name in sorted(wanted - times.keys())]
    for row in rows:
        if row["id"] in wanted:
            fault = _fault(row, fate_of(int(row["id"].removeprefix("row-"))))
            if fault:
                faults.append(f"{row['id']}: {fault}")
    more = len(faults) - SHOWN
    return [*faults[:SHOWN], f"… and {more} more"] if more > 0 else faults


def _fault(row: Mapping[str, Any], fate: Fate) -> str:
    hops = row["provenance"]
    steps = [hop["step"] for hop in hops]
    done = fate.path[:-1] if fate.status == "dead" else fate.path
    if row["status"] != fate.status:
        return f"is {row['status']} ({row['reason']}), not {fate.status}"
    if steps != fate.path:
        return f"its segments are of {steps}, not {fate.path}"
    if [hop["hop"] for hop in hops] != list(range(len(hops))):
        return f"its hops are numbered {[hop['hop'] for hop in hops]}"
    if row["data"].get("trail", []) != done:
        return f"its trail is {row['data'].get('trail')}, not {done}"
    if len(row["messages"]) != len(done):
        return f"has {len(row['messages'])} messages after {len(done)} hops"
    if len(row["data"].get("large", "")) != (LARGE_BYTES if fate.large and done else 0):
        return "its large part is damaged"
    for before, after in pairwise(hops):
        if before["epoch"] != after["epoch"] or before["fork"] > after["fork"]:
            return f"its tags do not rise: {before['epoch'], before['fork']} is followed by " + str(
                (after["epoch"], after["fork"])
            )
        if before["started"] > after["started"] + 0.001:
            return f"hop {after['hop']} began before hop {before['hop']}"
    if (
        fate.status == "dead"
        and "ValueError: this row is poison (attempt 2 of 2)" not in (row["reason"])
    ):
        return f"is dead for another reason: {row['reason']}"
    return ""
