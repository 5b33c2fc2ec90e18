"""The plan of an attack: from a seed alone, with every kind of strike in it."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from weft.attack.pipeline import LEASE
from weft.attack.strikes import KINDS, OURS, Strike, strikes

NAMES = {kind.kind for kind in KINDS}


def plan(seed: str, count: int) -> list[Strike]:
    return list(islice(strikes(seed, count), count))


def test_a_seed_says_whom_and_how_and_when() -> None:
    assert plan("1", 200) == plan("1", 200)
    assert plan("1", 200) != plan("2", 200)


def test_a_campaign_has_every_kind_whatever_the_seed() -> None:
    for seed in range(50):
        assert {strike.kind for strike in plan(str(seed), 200)} == NAMES


def test_pauses_outlive_the_lease_and_kills_have_none() -> None:
    for strike in plan("1", 2000):
        assert ("paused" in strike.kind) == (strike.pause > 0)
        assert not strike.pause or strike.pause > LEASE


def test_most_strikes_are_on_processes_that_come_back_under_the_same_command() -> None:
    """Those that end the command cost a start of Ray each, and each kind of them comes all the
    same."""
    ends = Counter(strike.ends_run for strike in plan("1", 2000))
    assert 4 <= ends[True] <= 60
    roles = Counter(role for strike in plan("1", 2000) for role in strike.roles)
    assert all(roles[role] > 300 for role in OURS)
