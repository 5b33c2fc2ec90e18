"""A campaign: its strikes dealt out to pipelines that are attacked side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from weft.attack.blows import Blow, Recovery
from weft.attack.campaign import Called, Round
from weft.attack.lanes import campaign
from weft.attack.strikes import KINDS, Strike, strikes


class Pipeline:
    """Takes its strikes at once. `lives`: after so many its rows have ended."""

    made: list[Pipeline] = []  # noqa: RUF012 - emptied by each test's fixture

    def __init__(self, seed: str, rows: int, off: threading.Event) -> None:
        self.seed, self.rows, self.off = seed, rows, off
        self.struck: list[Strike] = []
        self.lives = 1000
        self.fault = ""
        Pipeline.made.append(self)

    def run(self, strikes: Iterator[Strike], wanted: int) -> Round:
        self.struck = list(islice(strikes, min(wanted, self.lives)))
        blows = [Blow(strike.kind, 0.0, [1]) for strike in self.struck]
        faults = [self.fault] if self.fault else []
        return Round(self.seed, self.rows, self.rows, blows, Recovery({}, 0, 0), faults, 1.0)


@pytest.fixture(autouse=True)
def _none_made() -> None:
    Pipeline.made = []


def wage(kills: int, attack=Pipeline, *, per_round: int = 100) -> list[Round]:  # type: ignore[no-untyped-def]
    return campaign(
        3,
        kills,
        rows_a_strike=10,
        per_round=per_round,
        lanes=2,
        say=lambda line: None,
        attack=attack,
    )


def kinds(rounds: list[Round]) -> list[str]:
    return sorted(blow.kind for found in rounds for blow in found.blows)


def test_the_strikes_of_a_seed_are_all_made_and_each_once() -> None:
    rounds = wage(201)
    assert len(rounds) == 3  # 100 and 100, and the one that is left.
    assert kinds(rounds) == sorted(strike.kind for strike in islice(strikes("3", 201), 201))
    assert {kind.kind for kind in KINDS} == set(kinds(rounds))


def test_where_rows_run_out_the_rest_of_the_strikes_is_for_another_pipeline() -> None:
    def short(seed: str, rows: int, off: threading.Event) -> Pipeline:
        made = Pipeline(seed, rows, off)
        made.lives = 30
        return made

    rounds = wage(200, short)
    assert [len(found.blows) for found in rounds].count(30) == 6
    assert len(kinds(rounds)) == 200
    assert len({found.seed for found in rounds}) == len(rounds)


def test_a_pipeline_that_breaks_ends_the_campaign_and_calls_the_others_off() -> None:
    both = threading.Barrier(2, timeout=30)

    class Lasting(Pipeline):
        def run(self, strikes: Iterator[Strike], wanted: int) -> Round:
            both.wait()
            if self.seed.startswith("3/0/"):
                self.fault = "a row is lost"
                return super().run(strikes, wanted)
            assert self.off.wait(30), "was not called off"
            raise Called

    (broken,) = wage(1000, Lasting)
    assert broken.faults == ["a row is lost"]
    assert len(Pipeline.made) == 2


def test_a_pipeline_that_no_strike_hits_is_a_fault_and_not_tried_for_ever() -> None:
    def untouched(seed: str, rows: int, off: threading.Event) -> Pipeline:
        made = Pipeline(seed, rows, off)
        made.lives = 0
        return made

    rounds = wage(200, untouched)
    assert all("no strike hit" in found.faults[0] for found in rounds)
    assert 1 <= len(rounds) <= 2


def test_an_error_in_one_lane_ends_the_others_too() -> None:
    class Failing(Pipeline):
        def run(self, strikes: Iterator[Strike], wanted: int) -> Round:
            if self.seed.startswith("3/0/"):
                raise OSError("no space left")
            assert self.off.wait(30), "was not called off"
            raise Called

    with pytest.raises(OSError, match="no space left"):
        wage(200, Failing)
