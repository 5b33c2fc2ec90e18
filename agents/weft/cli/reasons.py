"""Why rows died, told by kind and not row by row. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_OWN = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"|\d+")
"""What differs between rows that died of the same cause: names in quotes, and numbers."""
MOST_KINDS = 10_000


def grouped(reasons: Iterable[str], most: int) -> tuple[list[tuple[int, str]], int]:
    """The commonest kinds, each with its count and its first reason word for word, and how many
    rows are of none of them."""
    counts: dict[str, int] = {}
    examples: dict[str, str] = {}
    rest = 0
    for reason in reasons:
        kind = _OWN.sub("…", reason)
        if kind not in counts and len(counts) >= MOST_KINDS:
            rest += 1
            continue
        counts[kind] = counts.get(kind, 0) + 1
        examples.setdefault(kind, reason)
    ranked = sorted(counts, key=lambda kind: -counts[kind])
    rest += sum(counts[kind] for kind in ranked[most:])
    return [(counts[kind], examples[kind]) for kind in ranked[:most]], rest
