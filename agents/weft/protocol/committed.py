"""Which rows are committed, and how: one byte a row, so a million rows cost a megabyte."""

from __future__ import annotations

from collections.abc import Iterable

ORDINAL_BITS = 48
_ORDINALS = (1 << ORDINAL_BITS) - 1
_STATUSES = ("", "accepted", "rejected", "dead")
_CODES = {status: code for code, status in enumerate(_STATUSES)}


class CommittedRows:
    """Row key -> end. Rows are numbered densely from 0 in each source partition."""

    __slots__ = ("_partitions", "counts")

    def __init__(self) -> None:
        self._partitions: dict[int, bytearray] = {}
        self.counts: dict[str, int] = {"accepted": 0, "rejected": 0, "dead": 0}

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __contains__(self, row: int) -> bool:
        codes = self._partitions.get(row >> ORDINAL_BITS)
        ordinal = row & _ORDINALS
        return codes is not None and ordinal < len(codes) and codes[ordinal] != 0

    def status(self, row: int) -> str:
        """`accepted`, `rejected`, `dead`, or "" for a row that is not committed."""
        codes = self._partitions.get(row >> ORDINAL_BITS)
        ordinal = row & _ORDINALS
        return _STATUSES[codes[ordinal]] if codes is not None and ordinal < len(codes) else ""

    def add(self, row: int, status: str) -> bool:
        """Note the end of a row; False when it was there already (its first end stands)."""
        codes = self._partitions.setdefault(row >> ORDINAL_BITS, bytearray())
        ordinal = row & _ORDINALS
        if ordinal >= len(codes):
            codes.extend(bytes(max(ordinal + 1 - len(codes), min(len(codes), 1 << 20), 1024)))
        if codes[ordinal]:
            return False
        codes[ordinal] = _CODES[status]
        self.counts[status] += 1
        return True

    def update(self, rows: Iterable[tuple[int, str]]) -> None:
        for row, status in rows:
            self.add(row, status)

    def merge(self, other: CommittedRows) -> None:
        """Take over all rows of `other`, which has none of ours."""
        for partition, codes in other._partitions.items():
            mine = self._partitions.setdefault(partition, bytearray())
            if len(mine) < len(codes):
                mine.extend(bytes(len(codes) - len(mine)))
            for ordinal, code in enumerate(codes):
                if code:
                    mine[ordinal] = code
        for status, count in other.counts.items():
            self.counts[status] += count
