"""What to do after an endpoint has not answered a call: try again, when, or give up. Pure.

A full or absent endpoint is waited for (`PATIENCE` seconds in all): the row is not at fault, and a
run must outlive an endpoint's restart. What may be the request's own fault is tried a few times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from re import compile as pattern

from weft.engines.adaptive import Outcome

PATIENCE = 600.0
"""Seconds that one call goes on trying while the endpoint is full or away."""

TRIES = 4
"""Tries of a call that the endpoint fails on (500), or does not answer in time."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Back-off in seconds: doubled from the first, with jitter down to half."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A try that gave no reply. `status`: HTTP's; 0 where no answer came (`timed_out` says why);
    200 where one came that is no chat completion."""

    status: int
    text: str = ""
    timed_out: bool = False
    retry_after: float = 0.0
    """Seconds that the endpoint asked to wait; 0: it did not."""

    @property
    def outcome(self) -> Outcome:
        """What the try says about how full the endpoint is."""
        if self.status == 429:
            # Money spent is not fullness: fewer calls would not help.
            return Outcome.OTHER if self.is_out_of_quota else Outcome.REFUSED
        if self.timed_out or self.status in (503, 529):
            return Outcome.OVERLOADED
        return Outcome.OTHER

    @property
    def is_out_of_quota(self) -> bool:
        """A 429 that no waiting cures."""
        return self.status == 429 and "insufficient_quota" in self.text

    @property
    def is_transient(self) -> bool:
        """Whether the same request may be answered later."""
        if self.is_out_of_quota:
            return False
        return self.status in (0, 200, 408, 409, 425, 429) or self.status >= 500


def wait_before_retry(
    failure: Failure, *, tries: int, elapsed: float, chance: Random
) -> float | None:
    """Seconds to wait before the next try, or None to give up.

    `tries` were made, `elapsed` seconds ago was the first. The endpoint's own wish for a wait wins
    over the back-off, unless it lies beyond the patience.
    """
    if not failure.is_transient or failure.status == 501:
        return None
    waited_for = failure.status in (429, 502, 503, 504, 529) or (
        failure.status == 0 and not failure.timed_out
    )
    if not waited_for and tries >= TRIES:
        return None
    backed_off = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries - 1, 16))
    wait = max(failure.retry_after, backed_off * chance.uniform(0.5, 1.0))
    if failure.retry_after:
        # Those who were told the same moment must not all come back at it.
        wait = failure.retry_after + chance.uniform(0.0, min(1.0, 0.1 * failure.retry_after))
    return wait if elapsed + wait <= PATIENCE else None


def retry_after(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds to wait by `retry-after-ms` or `Retry-After` (seconds or a date); 0: none given.

    Header names are looked up as given: hand in a case-insensitive mapping.
    """
    try:
        if text := headers.get("retry-after-ms"):
            return _sane(float(text) / 1000)
        text = headers.get("Retry-After", "")
        if not text:
            return 0.0
        try:
            return _sane(float(text))
        except ValueError:
            moment = parsedate_to_datetime(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return _sane((moment - now).total_seconds())
    except ValueError:
        return 0.0


def exhausted_for(headers: Mapping[str, str]) -> float:
    """Seconds until an allowance that is used up comes back, by OpenAI's `x-ratelimit-*` headers;
    0 while something remains. Durations there read `20ms`, `6m0s`, or plain seconds."""
    longest = 0.0
    for kind in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0":
            longest = max(longest, _duration(headers.get(f"x-ratelimit-reset-{kind}", "")))
    return longest


_PART = pattern(r"([0-9.]+)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}


def _duration(text: str) -> float:
    try:
        return _sane(sum(float(n) * _SECONDS[unit] for n, unit in _PART.findall(text)))
    except ValueError:
        return 0.0


def _sane(seconds: float) -> float:
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
