"""How alike two texts are, and which rows of many are like a new one.

Likeness is the Jaccard index of the texts' runs of words (shingles), estimated by MinHash; only
rows that share a band of the signature are compared (locality-sensitive hashing). The bands may be
divided among several indexes, each of which knows all rows by its own part.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from rensa import RMinHash, RMinHashLSH

PERMUTATIONS = 128
"""Of a signature: a standard error of the estimate of 1/√128, about 0.09 at most."""
BANDS = 32
"""Of four values each: pairs of similarity 0.7 share one with a probability of 0.9998, of 0.8
practically always."""
SEED = 42
MOST_CHARACTERS = 100_000
"""Of a text that is looked at."""

Signature = Sequence[RMinHash]
"""One part for each index; together they have `PERMUTATIONS` values."""
Found = tuple[str, float]
"""The other row's name, and the estimated similarity."""

_WORD = re.compile(r"\w+")


def shingles(text: str, length: int) -> list[str]:
    """Runs of so many words, lower case and without punctuation; the whole of a shorter text."""
    words = _WORD.findall(text[:MOST_CHARACTERS].lower())
    if len(words) <= length:
        return [" ".join(words)]
    return [" ".join(words[at : at + length]) for at in range(len(words) - length + 1)]


def signature(runs: Iterable[str], parts: int = 1) -> Signature:
    """The same for the same runs in every process. `parts` divides `BANDS`."""
    given = list(runs)
    made = []
    for number in range(parts):
        part = RMinHash(num_perm=PERMUTATIONS // parts, seed=SEED + number)
        part.update(given)
        made.append(part)
    return made


def likeness(one: Signature, other: Signature) -> float:
    shares = [mine.jaccard(its) for mine, its in zip(one, other, strict=True)]
    return float(sum(shares) / len(shares))


class Seen:
    """Rows by one part of their signatures; bounded, the oldest is forgotten first."""

    def __init__(self, threshold: float, capacity: int, *, part: int = 0, parts: int = 1) -> None:
        self._threshold = threshold
        self._capacity = capacity
        self._part = part
        self._index = RMinHashLSH(
            threshold=threshold, num_perm=PERMUTATIONS // parts, num_bands=BANDS // parts
        )
        self._rows: OrderedDict[str, tuple[int, int, Signature]] = OrderedDict()
        self._names: dict[int, str] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self, name: str, signed: Signature, *, attempt: int = 0, keep_duplicates: bool = False
    ) -> Found | None:
        """The row that is most like this one, with the estimate; None, and this one is remembered,
        where none is like it. A row is never like itself: one that comes again takes its own
        place. `attempt` tells one coming of a row from another, for `forget`."""
        self._forget(name)
        best: Found | None = None
        for key in self._index.query(signed[self._part]):
            other = self._names[key]
            share = likeness(signed, self._rows[other][2])
            if share >= self._threshold and (best is None or share > best[1]):
                best = other, share
        if best is None or keep_duplicates:
            self._remember(name, signed, attempt)
        return best

    def forget(self, name: str, attempt: int) -> None:
        """Take back what this attempt added; nothing where the row has come again since."""
        if name in self._rows and self._rows[name][1] == attempt:
            self._forget(name)

    def _remember(self, name: str, signed: Signature, attempt: int) -> None:
        if len(self._rows) >= self._capacity:
            self._forget(next(iter(self._rows)))
        self._rows[name] = self._next, attempt, signed
        self._names[self._next] = name
        self._index.insert(self._next, signed[self._part])
        self._next += 1

    def _forget(self, name: str) -> None:
        if name in self._rows:
            key, _, _ = self._rows.pop(name)
            del self._names[key]
            self._index.remove(key)
