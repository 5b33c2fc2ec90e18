"""What is done after a failure: a table, and the headers that endpoints send."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest

from weft.engines.adaptive import Outcome
from weft.engines.retry import (
    LONGEST_WAIT,
    PATIENCE,
    TRIES,
    Failure,
    exhausted_for,
    retry_after,
    wait_before_retry,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def wait(failure: Failure, tries: int = 1, elapsed: float = 0.0) -> float | None:
    return wait_before_retry(failure, tries=tries, elapsed=elapsed, chance=Random(1))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501])
def test_what_the_request_itself_causes_is_not_tried_again(status: int) -> None:
    assert wait(Failure(status)) is None


@pytest.mark.parametrize("status", [429, 502, 503, 504, 529, 0])
def test_a_full_or_absent_endpoint_is_waited_for(status: int) -> None:
    assert wait(Failure(status), tries=50, elapsed=PATIENCE / 2) is not None
    assert wait(Failure(status), tries=50, elapsed=PATIENCE) is None


@pytest.mark.parametrize("failure", [Failure(500), Failure(0, timed_out=True), Failure(200)])
def test_what_the_request_may_cause_is_tried_a_few_times(failure: Failure) -> None:
    assert wait(failure, tries=TRIES - 1) is not None
    assert wait(failure, tries=TRIES) is None


def test_the_wait_doubles_up_to_a_bound() -> None:
    waits = [wait(Failure(503), tries=tries) or 0 for tries in range(1, 20)]
    assert 0.25 <= waits[0] <= 0.5
    assert 4 <= waits[4] <= 8
    assert all(LONGEST_WAIT / 2 <= one <= LONGEST_WAIT for one in waits[8:])


def test_the_endpoints_own_wish_wins_and_the_crowd_is_spread() -> None:
    failure = Failure(429, retry_after=20.0)
    waits = {
        wait_before_retry(failure, tries=1, elapsed=0, chance=Random(seed)) for seed in range(9)
    }
    assert len(waits) == 9
    assert all(one is not None and 20 <= one <= 21 for one in waits)


def test_a_wish_beyond_all_patience_ends_the_call() -> None:
    assert wait(Failure(429, retry_after=PATIENCE + 1)) is None


def test_a_spent_quota_is_not_waited_for() -> None:
    failure = Failure(429, "You exceeded your current quota (insufficient_quota)")
    assert wait(failure) is None
    assert not failure.is_transient


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (Failure(429), Outcome.REFUSED),
        (Failure(503), Outcome.OVERLOADED),
        (Failure(0, timed_out=True), Outcome.OVERLOADED),
        (Failure(0), Outcome.OTHER),
        (Failure(500), Outcome.OTHER),
        (Failure(400), Outcome.OTHER),
    ],
)
def test_what_a_failure_says_about_fullness(failure: Failure, outcome: Outcome) -> None:
    assert failure.outcome is outcome


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": "Fri, 02 Jan 2026 03:04:35 GMT"}, 30.0),
        ({"Retry-After": "Fri, 02 Jan 2026 03:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5),
        ({"Retry-After": "soon"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "inf"}, 0.0),
        ({"Retry-After": "nan"}, 0.0),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("remaining", "reset", "seconds"),
    [
        ("5", "1s", 0.0),
        ("0", "20ms", 0.02),
        ("0", "6m0s", 360.0),
        ("0", "1h2m3.5s", 3723.5),
        ("0", "12", 12.0),
        ("0", "", 0.0),
        ("0", "1.2.3s", 0.0),
    ],
)
def test_an_exhausted_allowance_is_read(remaining: str, reset: str, seconds: float) -> None:
    for kind in ("requests", "tokens"):
        headers = {
            f"x-ratelimit-remaining-{kind}": remaining,
            f"x-ratelimit-reset-{kind}": reset,
        }
        assert exhausted_for(headers) == pytest.approx(seconds)
