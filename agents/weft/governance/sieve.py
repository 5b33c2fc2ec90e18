"""A cheap look that spares most texts the recognizers: what a hit of each entity cannot be without.

Presidio's recognizers take milliseconds a kB; these take microseconds. Each is a *necessary*
condition, held by a property test against the recognizers themselves. An entity that is not listed
is always looked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from weft_api.governance import NEEDS_MODEL

_PUNCTUATION = (
    r"\-xX\u2010-\u2015\u2212\u30fc\uff0d-\uff0f \u00a0\u00ad\u200b\u2060\u3000()"
    r"\uff08\uff09\uff3b\uff3d.\[\]/~\u2053\u223c\uff5e+\uff0b;,\s"
)
"""What python-phonenumbers lets stand between the digits of one number, and white space."""
_NUMBER = re.compile(rf"\d(?:[{_PUNCTUATION}]{{0,8}}\d){{4,}}")
"""Five digits: the shortest numbers that any country's plan has as valid."""
_AROUND = 24
"""Characters beside the digits that a recognizer may look at: brackets, and what must not touch."""


def windows(text: str) -> list[tuple[int, int]]:
    """The pieces of the text that may hold a telephone number, as offsets; none overlap."""
    pieces: list[tuple[int, int]] = []
    for match in _NUMBER.finditer(text):
        start, end = max(0, match.start() - _AROUND), min(len(text), match.end() + _AROUND)
        if pieces and start <= pieces[-1][1]:
            pieces[-1] = (pieces[-1][0], end)
        else:
            pieces.append((start, end))
    return pieces


def _matches(pattern: str) -> Callable[[str], bool]:
    search = re.compile(pattern).search
    return lambda text: search(text) is not None


SIEVES: dict[str, Callable[[str], bool]] = {
    "EMAIL_ADDRESS": lambda text: "@" in text,
    "PHONE_NUMBER": lambda text: _NUMBER.search(text) is not None,
    "IP_ADDRESS": _matches(r"\d\.\d|:[^\s]*:"),
    "URL": _matches(r"://|\.[^\s\d]"),
    "US_SSN": _matches(r"\d(?:\D?\d){8}"),
    "DATE_TIME": _matches(r"\d"),
}
"""Only where looking costs less than the recognizer itself."""
COSTLY = frozenset({"EMAIL_ADDRESS", "PHONE_NUMBER", "URL", *NEEDS_MODEL})
"""Entities whose recognizers take about a millisecond and more where the sieve lets a text by."""


def suspicious(entity: str, text: str) -> bool:
    """False only where the text surely holds no such entity."""
    sieve = SIEVES.get(entity)
    return sieve is None or sieve(text)
