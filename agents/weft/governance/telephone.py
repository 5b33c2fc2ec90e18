"""Telephone numbers, the same as Presidio's recognizer finds, for a tenth of the time.

Presidio goes over the text once for each country, and asks the library (python-phonenumbers) about
all that looks like a number anew. Here all countries walk together, for as long as the walk is the
same for each of them; and the library is asked only where a country's numbering plan has numbers
that are written with such digits.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberMatcher
from presidio_analyzer import AnalysisExplanation, RecognizerResult
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

SHORTEST = 4
"""Digits of the shortest numbers that any country's plan has as valid."""
_PLAIN = re.compile(r"[0-9()\[\] ./\u00a0-]+")
"""Digits, and signs that the library passes over: no plus, no extension, no letters."""
_NO_DIGIT = re.compile(r"[^0-9]+")
_PATTERNS = (
    *("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost"),
    *("voip", "personal_number", "pager", "uan", "voicemail"),
)
"""Where the library's plan of a country has the patterns of its valid numbers."""
_MOST_DIGITS = 20
"""Up to here none of the library's limits cuts short what looks like a number."""


class PhoneNumbers(PhoneRecognizer):  # type: ignore[misc]  # Presidio has no types.
    """Stands in for Presidio's `PhoneRecognizer`, whose settings and results are its own."""

    def analyze(self, text: str, entities: Any, nlp_artifacts: Any = None) -> list[Any]:
        return [self._result(start, end) for start, end in spans(text, self.supported_regions)]

    def _result(self, start: int, end: int) -> Any:
        explanation = AnalysisExplanation(PhoneRecognizer.__name__, self.SCORE)
        names = RecognizerResult.RECOGNIZER_NAME_KEY, RecognizerResult.RECOGNIZER_IDENTIFIER_KEY
        return RecognizerResult(
            "PHONE_NUMBER",
            start,
            end,
            self.SCORE,
            analysis_explanation=explanation,
            recognition_metadata=dict(zip(names, (self.name, self.id), strict=True)),
        )


def spans(text: str, regions: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where valid numbers of the regions stand, without those that lie within another one."""
    reach = 0
    for start, end in sorted(_all_spans(text, regions), key=lambda span: (span[0], -span[1])):
        if end > reach:
            yield start, end
            reach = end


def _all_spans(text: str, regions: Sequence[str]) -> set[tuple[int, int]]:
    """The library's walk over the text is one step for each place that looks like a number. Where
    it holds none, and where the whole of it is one, each region's next step begins at its end;
    else each goes on from where its own number ends, until they meet again."""
    found: set[tuple[int, int]] = set()
    walk = _Walk(text)
    waiting = {0: list(regions)}
    while waiting:
        at = min(waiting)
        walk.regions = group = waiting.pop(at)
        match = walk.next_from(at)
        if match is None:
            continue
        begin, place = walk.place
        end = begin + len(place)
        if match.start == begin and match.end == end and _stands_alone(text, place, end):
            # What other regions find within it lies within a hit.
            found.add((begin, end))
            waiting.setdefault(end, []).extend(group)
            continue
        for region in group:
            walk.regions = [region]
            own = walk.within(place, begin)
            if own is not None:
                found.add((own.start, own.end))
            waiting.setdefault(end if own is None else own.end, []).append(region)
    return found


def _stands_alone(text: str, place: str, end: int) -> bool:
    """Whether a search that begins within the place surely finds nothing that ends behind it."""
    digits = place[1:] if place.startswith("+") else place
    return (
        _PLAIN.fullmatch(digits) is not None
        and sum(map(str.isdigit, digits)) <= _MOST_DIGITS
        and text[end : end + 1] not in ("/", "\\")
    )


class _Walk(PhoneNumberMatcher):
    """The library's own walk, with a number valid where it is one in any of `regions`.

    *Hazard:* these are inner methods of the library; a test compares with its public ones."""

    def __init__(self, text: str) -> None:
        # The library gives up after so many false numbers, and what follows would pass unseen.
        super().__init__(text, None, max_tries=sys.maxsize)
        self.regions: Sequence[str] = ()
        self.place = 0, ""
        """Offset and text of what looked like a number last."""

    def next_from(self, at: int) -> Any:
        return self._find(at)

    def within(self, place: str, begin: int) -> Any:
        return self._extract_match(place, begin)

    def _extract_match(self, candidate: str, offset: int) -> Any:
        self.place = offset, candidate
        return super()._extract_match(candidate, offset)

    def _parse_and_verify(self, candidate: str, offset: int) -> Any:
        regions = self.regions
        if _PLAIN.fullmatch(candidate):
            digits = _NO_DIGIT.sub("", candidate)
            if len(digits) < SHORTEST:
                return None
            regions = [region for region in regions if _may_be(digits, region)]
        for self.preferred_region in regions:
            if (match := super()._parse_and_verify(candidate, offset)) is not None:
                return match
        return None


def _may_be(digits: str, region: str) -> bool:
    """False only where the digits surely are no valid number as written in the region."""
    plan = _plan(region)
    return plan is None or plan.fullmatch(digits) is not None


@lru_cache(maxsize=256)
def _plan(region: str) -> re.Pattern[str] | None:
    """What digits a valid number may be written with: behind an international prefix anything, else
    behind country code and national prefixes, or none of them, a number of any type of any region
    that shares the country code. None where the library does not know the region."""
    mine = PhoneMetadata.metadata_for_region(region, None)
    if mine is None or mine.country_code is None:
        return None
    shared = [
        PhoneMetadata.metadata_for_region(other, None)
        for other in COUNTRY_CODE_TO_REGION_CODE[mine.country_code]
    ]
    numbers = {
        description.national_number_pattern
        for metadata in shared
        if metadata is not None
        for description in (getattr(metadata, name) for name in _PATTERNS)
        if description is not None and description.national_number_pattern
    }
    prefixes = {str(mine.country_code)}
    anything = {mine.international_prefix} - {None}
    for metadata in (mine, shared[0]):
        if metadata is not None and (prefix := metadata.national_prefix_for_parsing):
            # A rule may make other digits of the number than those that are there.
            (anything if metadata.national_prefix_transform_rule else prefixes).add(prefix)
    return re.compile(
        rf"(?:{_any(anything)})\d*|(?:{_any(prefixes)}){{0,3}}(?:{_any(numbers)})", re.ASCII
    )


def _any(patterns: set[Any]) -> str:
    return "|".join(f"(?:{pattern})" for pattern in sorted(patterns)) or "(?!)"
