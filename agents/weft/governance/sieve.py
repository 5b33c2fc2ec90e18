"""A cheap look that spares most texts the recognizers: what a hit of each entity cannot be without,
and where in the text it may be.

Presidio's recognizers take up to milliseconds a kB; this takes microseconds. Each is a *necessary*
condition, held by a property test against the recognizers themselves. An entity that is not listed
is looked for in every text, and in the whole of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_PUNCTUATION = (
    r"\-xX\u2010-\u2015\u2212\u30fc\uff0d-\uff0f \u00a0\u00ad\u200b\u2060\u3000()"
    r"\uff08\uff09\uff3b\uff3d.\[\]/~\u2053\u223c\uff5e+\uff0b;,\s"
)
"""What python-phonenumbers lets stand between the digits of one number, and white space."""


def _runs(pattern: str) -> re.Pattern[str]:
    """Pieces between white space in which the pattern occurs. White space is here what every
    library takes for such, and what no hit of these entities can hold."""
    return re.compile(rf"(?<![^ \t\r\n])(?=[^ \t\r\n]*?(?:{pattern}))[^ \t\r\n]+")


_RUNS: dict[str, re.Pattern[str]] = {
    "EMAIL_ADDRESS": _runs("@"),
    "IP_ADDRESS": _runs(r"\d\.\d|:[^ \t\r\n]*:"),
    "URL": _runs(r"://|\.[^ \t\r\n\d]"),
}


def _matches(pattern: str) -> Callable[[str], bool]:
    search = re.compile(pattern).search
    return lambda text: search(text) is not None


SIEVES: dict[str, Callable[[str], bool]] = {
    "EMAIL_ADDRESS": lambda text: "@" in text,
    # Four digits: the shortest numbers that any country's plan has as valid.
    "PHONE_NUMBER": _matches(rf"\d(?:[{_PUNCTUATION}]{{0,8}}\d){{3,}}"),
    "IP_ADDRESS": _matches(r"\d\.\d|:[^ \t\r\n]*:"),
    "URL": _matches(r"://|\.[^ \t\r\n\d]"),
    "US_SSN": _matches(r"\d(?:\D?\d){8}"),
    "DATE_TIME": _matches(r"\d"),
    "IN_PAN": _matches(r"\d{4}"),
}
"""Only where looking costs less than the recognizer itself."""


def suspicious(entity: str, text: str) -> bool:
    """False only where the text surely holds no such entity."""
    sieve = SIEVES.get(entity)
    return sieve is None or sieve(text)


def pieces(entity: str, text: str) -> Iterator[tuple[int, str]]:
    """The pieces of a suspicious text that the recognizer has to see, each with its offset: one by
    one they give the same hits as the text."""
    runs = _RUNS.get(entity)
    if runs is None:
        yield 0, text
        return
    for run in runs.finditer(text):
        yield run.start(), run.group()
