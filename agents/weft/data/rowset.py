"""A set of row keys that costs about one bit a row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_BLOCK_BITS = 16
_MASK = (1 << _BLOCK_BITS) - 1


class RowSet:
    """Row keys (int64, not negative) as bitmaps of 65,536 keys, 8 KiB each.

    Keys are `source partition << 48 | ordinal`, and ordinals are handed out without gaps, so blocks
    fill up: a million rows cost 125 KiB, or W times that in the set of one of W writer partitions.
    """

    __slots__ = ("_blocks", "_count")

    def __init__(self) -> None:
        self._blocks: dict[int, bytearray] = {}
        self._count = 0

    def add(self, row: int) -> bool:
        """Put the key in. Returns whether it is new."""
        block = self._blocks.get(row >> _BLOCK_BITS)
        if block is None:
            block = self._blocks[row >> _BLOCK_BITS] = bytearray(1 << (_BLOCK_BITS - 3))
        byte, bit = (row & _MASK) >> 3, 1 << (row & 7)
        if block[byte] & bit:
            return False
        block[byte] |= bit
        self._count += 1
        return True

    def update(self, rows: npt.NDArray[np.int64]) -> int:
        """Put all in. Returns how many were there already or came twice."""
        before = self._count
        blocks = rows >> _BLOCK_BITS
        for number in np.unique(blocks):
            block = self._blocks.setdefault(int(number), bytearray(1 << (_BLOCK_BITS - 3)))
            bits = np.unpackbits(np.frombuffer(block, dtype=np.uint8), bitorder="little")
            already = int(bits.sum())
            bits[rows[blocks == number] & _MASK] = 1
            block[:] = np.packbits(bits, bitorder="little").tobytes()
            self._count += int(bits.sum()) - already
        return len(rows) - (self._count - before)

    def __contains__(self, row: object) -> bool:
        if not isinstance(row, int):
            return False
        block = self._blocks.get(row >> _BLOCK_BITS)
        return block is not None and bool(block[(row & _MASK) >> 3] & (1 << (row & 7)))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        """The keys, rising."""
        for number in sorted(self._blocks):
            bits = np.frombuffer(self._blocks[number], dtype=np.uint8)
            for low in np.flatnonzero(np.unpackbits(bits, bitorder="little")):
                yield number << _BLOCK_BITS | int(low)

    @property
    def nbytes(self) -> int:
        """Memory of the bitmaps in bytes."""
        return len(self._blocks) << (_BLOCK_BITS - 3)
