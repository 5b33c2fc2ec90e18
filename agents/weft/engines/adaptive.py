"""How many calls an endpoint is given at once, and when the next may start.

A state machine without I/O and without a clock: every method is told the time (seconds, from any
origin), so that tests run it through hours in milliseconds. Three things hold a call back:

- the limit on calls under way: it grows while the endpoint keeps up (by one per answer at first,
  by one per round of answers after the first refusal) and shrinks when calls are refused or time
  out: additive increase, multiplicative decrease, as TCP does it;
- a pause that the endpoint asked for (`Retry-After`, an exhausted `x-ratelimit-*`);
- the user's own limit of calls per minute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

START = 64
"""Calls under way at first, where the user has set no limit."""

MOST = 1024
"""Calls under way at most, where the user has set no limit: a process's open files are few."""

GENTLE, HARD = 0.9, 0.5
"""Factors of decrease. An endpoint that refuses some calls of many is nearly right; one that
answers none, or does not answer in time, is far off."""

BURST_SECONDS = 1.0
"""The per-minute limit may be used up this far ahead, so that calls need not be evenly spaced."""


class Outcome(Enum):
    """How a call ended, as far as the limit is concerned."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """429: too many calls."""
    OVERLOADED = "overloaded"
    """503, 529 or no answer in time."""
    OTHER = "other"
    """Says nothing about how full the endpoint is: a bad request, a broken connection."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call under way."""

    started: float


class Adaptive:
    """The decisions for one endpoint. `most` is the user's limit of calls under way, or None."""

    def __init__(self, *, most: int | None = None, requests_per_minute: int | None = None) -> None:
        self.most = most or MOST
        self.limit = float(self.most if most else min(START, self.most))
        self.under_way = 0
        self._rapid = True  # No refusal seen yet: grow by one per answer.
        self._shrunk = -math.inf
        self._full = -math.inf
        """When the limit was last reached."""
        self._answered_since = True
        self._paused_until = -math.inf
        # The burst is taken out of the minute, so that no minute, begun at any moment, has more.
        self._interval = (60.0 + BURST_SECONDS) / requests_per_minute if requests_per_minute else 0
        self._due = -math.inf
        """When the next call would be due if calls were evenly spaced."""

    def wait(self, now: float) -> float:
        """Seconds until a call may start; 0: now; infinity: not before one under way ends."""
        if self.under_way >= max(1, int(self.limit)):
            return math.inf
        wait = max(0.0, self._paused_until - now)
        if self._interval:
            wait = max(wait, self._due - BURST_SECONDS - now)
        return wait

    def start(self, now: float) -> Ticket:
        """A call starts; `wait` was 0."""
        self.under_way += 1
        if self.under_way >= int(self.limit):
            self._full = now
        if self._interval:
            self._due = max(self._due, now) + self._interval
        return Ticket(now)

    def end(
        self, ticket: Ticket, outcome: Outcome, now: float, *, retry_after: float = 0.0
    ) -> None:
        """A call has ended. `retry_after`: seconds that the endpoint asked to wait, if it did."""
        self.under_way -= 1
        match outcome:
            case Outcome.ANSWERED:
                self._answered_since = True
                # A limit that is not reached proves nothing about a higher one.
                if self._full >= ticket.started:
                    self.limit += 1.0 if self._rapid else 1.0 / self.limit
                    self.limit = min(self.limit, float(self.most))
            case Outcome.REFUSED | Outcome.OVERLOADED:
                self._rapid = False
                # Calls that started before the last decrease tell nothing about the limit since.
                if ticket.started >= self._shrunk:
                    if retry_after and not self._answered_since:
                        # Nobody gets through: whatever is full, more calls only make it worse.
                        self.pause(now + retry_after)
                    gentle = outcome is Outcome.REFUSED and self._answered_since
                    self.limit = max(1.0, self.limit * (GENTLE if gentle else HARD))
                    self._shrunk = now
                    self._answered_since = False

    def pause(self, until: float) -> None:
        """No call starts before `until`; a pause under way is never shortened."""
        self._paused_until = max(self._paused_until, until)
