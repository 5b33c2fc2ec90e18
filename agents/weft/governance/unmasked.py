"""A text without its disguises: what a reader, or a program that parses it, takes it for.

Signs that are not seen (zero-width, directions of writing) are left out, compatible forms (full
width and the like, NFKC) are as usual, and escapes (`\\u0040`) are what they stand for. Letters of
another script that look alike stay what they are.
"""

from __future__ import annotations

import re
import unicodedata

_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")
_UNSEEN = frozenset("\u034f\u180b\u180c\u180d\u180f") | frozenset(map(chr, range(0xFE00, 0xFE10)))
"""Not seen, but for these, is what Unicode calls format characters (Cf)."""


def unmasked(text: str) -> tuple[str, list[tuple[int, int]]] | None:
    """The text, with where each of its characters stood in the one that was given; None where
    there is nothing to take off."""
    escapes = {match.start(): match for match in _ESCAPE.finditer(text)} if "\\" in text else {}
    if not escapes and (text.isascii() or not _masked(text)):
        return None
    plain: list[str] = []
    places: list[tuple[int, int]] = []
    at = 0
    while at < len(text):
        sign, here = text[at], at
        at += 1
        if here in escapes:
            sign, at = chr(int(escapes[here].group(1), 16)), escapes[here].end()
        if sign.isascii():
            plain.append(sign)
            places.append((here, at))
        elif not _is_unseen(sign):
            usual = unicodedata.normalize("NFKC", sign)
            plain += usual
            places += [(here, at)] * len(usual)
    return "".join(plain), places


def _masked(text: str) -> bool:
    return any(
        _is_unseen(sign) or not unicodedata.is_normalized("NFKC", sign) for sign in set(text)
    )


def _is_unseen(sign: str) -> bool:
    return sign in _UNSEEN or unicodedata.category(sign) == "Cf"
