"""Whether the rows are still those that were committed: the chain, walked from its beginning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from weft.data.chain import Link, after, beginning, content_of
from weft.data.parts import partition_in_name
from weft.data.readback import active_files
from weft.data.retried import Earlier
from weft.protocol.view import partition_of

ROWS_AT_ONCE = 512


class Finding(msgspec.Struct, frozen=True):
    """One thing that is not as it was committed."""

    kind: str
    """`changed`, `added`, `removed` or `rewritten`."""
    partition: int
    sequence: int
    what: str
    """A line for people."""


class Chain(msgspec.Struct):
    """The chain of one partition, as found."""

    partition: int
    head: Link
    """Of the last row."""
    rows: int
    put_back: int
    """Rows that `weft retry` has taken out, and that the chain is whole with."""
    links: set[str]
    """Every link of it, so that a head that was kept at any time can be looked up."""


class Audit(msgspec.Struct):
    """What the walk has found."""

    chains: list[Chain]
    findings: list[Finding]

    @property
    def rows(self) -> int:
        return sum(chain.rows for chain in self.chains)


class _Entry(msgspec.Struct):
    sequence: int
    row: int
    id: str
    digest: str
    link: str
    actual: str
    """The digest of what is stored; "" where that is nothing that Weft writes."""


def audit(table: DeltaTable, files: Any, *, partitions: int, earlier: Sequence[Earlier]) -> Audit:
    """Walk the chains of all partitions in the version that `table` has seen.

    `files`: the table's own file system. `earlier`: what is on record of rows that were put back.
    Takes about 600 bytes of memory a row."""
    by_partition: dict[int, list[_Entry]] = {number: [] for number in range(partitions)}
    findings: list[Finding] = []
    for entry in _entries(table, files, findings):
        partition = partition_of(entry.row, partitions)
        if entry.sequence < 1:
            what = f"row {entry.id!r} is in no commit of Weft: it was added"
            findings.append(Finding("added", partition, 0, what))
        else:
            by_partition[partition].append(entry)
    gone: dict[tuple[int, int], list[Earlier]] = {}
    for end in earlier:
        if end.sequence:
            gone.setdefault((partition_of(end.row, partitions), end.sequence), []).append(end)
    table_id = str(table.metadata().id)
    chains = [
        _walk(partition, beginning(table_id, partition), entries, gone, findings)
        for partition, entries in by_partition.items()
    ]
    return Audit(chains, findings)


def _walk(
    partition: int,
    last: Link,
    entries: list[_Entry],
    gone: Mapping[tuple[int, int], Sequence[Earlier]],
    findings: list[Finding],
) -> Chain:
    links = {last.link}
    put_back = 0

    def found(kind: str, sequence: int, what: str) -> None:
        findings.append(Finding(kind, partition, sequence, what))

    def branch() -> list[Link]:
        """The links of put-back rows that follow the last one; a made-up record does not fit."""
        at, fitting = last, []
        while end := next(
            (
                end
                for end in gone.get((partition, at.sequence + 1), ())
                if after(at, end.digest).link == end.link
            ),
            None,
        ):
            at = after(at, end.digest)
            fitting.append(at)
        return fitting

    for entry in sorted(entries, key=lambda entry: (entry.sequence, entry.row)):
        if entry.sequence <= last.sequence:
            found("added", entry.sequence, f"row {entry.id!r} was added: its place is taken")
            continue
        bridge = branch()
        links.update(link.link for link in bridge)
        missing = entry.sequence - last.sequence - 1
        if 0 < missing <= len(bridge):
            last, put_back, missing = bridge[missing - 1], put_back + missing, 0
        if missing:
            many = "a row was" if missing == 1 else f"{missing:,} rows were"
            found("removed", last.sequence + 1, f"{many} removed before row {entry.id!r}")
        if entry.actual != entry.digest:
            found("changed", entry.sequence, f"row {entry.id!r} is not what was committed")
        if not missing and after(last, entry.digest).link != entry.link:
            what = "does not follow from the row before it: one of them was rewritten"
            found("rewritten", entry.sequence, f"row {entry.id!r} {what}")
        # After a fault the walk goes on from what the row says itself.
        last = Link(entry.sequence, entry.link)
        links.add(last.link)
    bridge = branch()
    links.update(link.link for link in bridge)
    return Chain(partition, last, len(entries), put_back + len(bridge), links)


def _entries(table: DeltaTable, files: Any, findings: list[Finding]) -> Iterator[_Entry]:
    """From the files themselves: Delta's readers refuse a file that is not as long as the log says,
    and would name neither rows nor file."""
    for file in sorted(active_files(table), key=lambda file: file.path):
        try:
            with files.open_input_file(file.path) as stream:
                reader = pq.ParquetFile(stream)
                for batch in reader.iter_batches(ROWS_AT_ONCE, use_threads=False):
                    for stored in batch.to_pylist():
                        yield _entry({**stored, "status": file.status})
        except (OSError, pa.ArrowException) as error:
            told = " ".join(str(error).split())[:200]
            what = f"{file.path} cannot be read, nor the rows in it: {told}"
            findings.append(Finding("removed", partition_in_name(file.path) or 0, 0, what))


def _entry(stored: dict[str, Any]) -> _Entry:
    chain, row = stored.get("chain") or {}, stored.get("row")
    return _Entry(
        chain.get("sequence") or 0,
        row if isinstance(row, int) else -1,
        str(stored.get("id")),
        chain.get("digest") or "",
        chain.get("link") or "",
        digest_of(stored),
    )


def digest_of(stored: dict[str, Any]) -> str:
    """The digest of a row as it is stored now; "" where it is nothing that Weft writes."""
    try:
        return content_of(stored).digest()
    except Exception:
        return ""
