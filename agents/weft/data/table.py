"""The committed output: one Delta table, partitioned by `status`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from weft.data.rowset import RowSet


class FinishedRow(msgspec.Struct):
    """A row's end, as a writer hands it over. Nothing in it is decoded yet."""

    row: int
    """The key: source partition << 48 | ordinal."""
    status: str
    """`accepted`, `rejected` or `dead`."""
    body: bytes
    """`weft.row.encode_row`."""
    reason: str = ""
    segments: list[bytes] = []
    """`weft.segment.encode_segment`, in hop order."""
    attempts: int = 1
    epoch: int = 0


class Claim(msgspec.Struct):
    """What a new writer of a partition starts from."""

    partition: int
    number: int
    """Rises with each claim of this partition."""
    rows: RowSet
    """All rows of this partition that are committed already."""


class Commit(msgspec.Struct, frozen=True):
    """One commit that is in the table."""

    version: int
    """Of the Delta table."""
    rows: int
    bytes: int


class OutputError(Exception):
    """The output cannot be used. The text is one line for the user."""


class Superseded(Exception):
    """Another writer has claimed the partition: stop, nothing more of this one will be accepted."""


class OutputTable:
    """The output as one process sees it. Calls block (run them in one thread of your own); one
    object serves one thread at a time. Close it in order: `close()` before the interpreter ends."""

    uri: str
    pipeline: str
    partitions: int
    """As fixed when the table was made."""

    @classmethod
    def open(
        cls,
        uri: str,
        storage_options: Mapping[str, str],
        *,
        pipeline: str,
        uid: str = "",
        partitions: int = 1,
        source: str = "",
    ) -> OutputTable:
        """Open the table, making it where there is none. Raises `OutputError`.

        `source` is the source's fingerprint, kept when the table is made.
        """
        raise NotImplementedError

    def claim(self, partition: int) -> Claim:
        """Become the partition's only writer. Raises `OutputError` when the store does not answer."""
        raise NotImplementedError

    def commit(self, partition: int, rows: Sequence[FinishedRow]) -> Commit:
        """Write the rows in one atomic commit.

        Returns only when they are in the table. Raises `Superseded`, or `OutputError` once retries
        are used up: whether the rows are in is then unknown, and `commit` with the same rows may be
        called again."""
        raise NotImplementedError

    def committed(self) -> RowSet:
        """All rows that are committed, over all partitions."""
        raise NotImplementedError

    def counts(self) -> dict[str, int]:
        """Rows per status, as of now."""
        raise NotImplementedError

    @property
    def version(self) -> int:
        """The newest version of the Delta table that this object has seen."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the table."""


def probe_store(uri: str, storage_options: Mapping[str, str]) -> None:
    """Check that the store can carry atomic commits. Raises `OutputError`."""
    raise NotImplementedError


def claim_generation(table: OutputTable, name: str) -> int:
    """A number for `name` that is higher than all given before, kept in the table itself."""
    raise NotImplementedError
