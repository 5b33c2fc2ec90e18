"""The printed end of a campaign: what was struck, and how long rows waited."""

from __future__ import annotations

from weft.attack.blows import Blow, Recovery
from weft.attack.campaign import Round
from weft.attack.report import table


def round_of(*blows: Blow, waits: dict[str, list[float]], faults: list[str]) -> Round:
    return Round("1/0/0", 100, 90, list(blows), Recovery(waits, 4, 2), faults, 30.0, missed=1)


def test_each_kind_has_its_counts_and_the_median_and_the_last_of_its_waits() -> None:
    rounds = [
        round_of(
            Blow("agent killed", 1.0, [7]),
            Blow("head paused", 3.0, [9], woke=1),
            waits={"agent killed": [0.5, 0.1]},
            faults=[],
        ),
        round_of(Blow("agent killed", 2.0, [8]), waits={"agent killed": [4.0]}, faults=[]),
    ]
    head, agents, heads, *sums = table(rounds, 61.0).splitlines()
    assert head.split() == ["strike", "made", "hit", "woke", "moved", "p50", "s", "p99", "s"]
    assert agents.split() == ["agent", "killed", "2", "2", "0", "3", "0.50", "4.00"]
    assert heads.split() == ["head", "paused", "1", "1", "1", "–", "–", "–"]
    assert sums == [
        "3 strikes on 2 pipelines in 61 s; 2 found nobody",
        "180 rows in the tables; 8 times one went on elsewhere, 4 began anew",
        "every row once, with its end, its path in order and its tags rising; chains whole",
    ]


def test_a_broken_pipeline_is_never_called_whole() -> None:
    rounds = [
        round_of(Blow("agent killed", 1.0, [7]), waits={}, faults=["row-000001 is lost"]),
        round_of(Blow("agent killed", 1.0, [7]), waits={}, faults=[]),
    ]
    assert table(rounds, 61.0).splitlines()[-1] == "1 of 2 pipelines broken"
