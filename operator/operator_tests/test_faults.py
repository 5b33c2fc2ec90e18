"""Seeded faults between the operator and the cluster: the end is the one without them.

More of them: `cd operator && python -m operator_tests.model --seeds 0:10000`.
"""

from __future__ import annotations

import pytest

from operator_tests.model.faults import ALL, schedule

SEEDS = 20
"""For each scenario."""


@pytest.mark.parametrize("scenario", sorted(ALL))
def test_whatever_fails_for_a_while_the_end_is_the_same(scenario: str) -> None:
    place = sorted(ALL).index(scenario)
    struck = 0
    for seed in range(place, place + SEEDS * len(ALL), len(ALL)):
        verdict = schedule(seed)
        assert verdict.scenario == scenario
        assert not verdict.wrong, f"{verdict.wrong}; again: {verdict.command}"
        struck += verdict.struck.total()
    assert struck > SEEDS
