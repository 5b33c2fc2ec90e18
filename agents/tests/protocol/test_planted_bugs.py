"""The simulator finds the bugs that are planted in the machines: so it can fail."""

from __future__ import annotations

from functools import cache

import pytest

from weft.simulation import generate, simulate
from weft.simulation.machines import REAL, Machines
from weft.simulation.mutants import MORE, MUTANTS

SEEDS = 1000
ENOUGH = 150
"""Seeds that are added up where only the sum of the work shows the bug."""

FOUND_AT_ONCE = sorted(name for name, mutant in MUTANTS.items() if mutant.says != MORE)
FOUND_BY_THE_SUM = sorted(name for name, mutant in MUTANTS.items() if mutant.says == MORE)


@pytest.mark.parametrize("name", FOUND_AT_ONCE)
def test_a_planted_bug_is_found_within_a_thousand_seeds(name: str) -> None:
    mutant = MUTANTS[name]
    for seed in range(SEEDS):
        schedule = generate(seed, mutant.mix)
        broken = simulate(schedule, mutant.machines).broken
        if broken:
            assert broken.startswith(mutant.says)
            assert simulate(schedule).broken == ""
            return
    pytest.fail(f"{name} was not found")


@pytest.mark.parametrize("name", FOUND_BY_THE_SUM)
def test_a_bug_that_costs_only_work_shows_in_the_sum_of_the_work(name: str) -> None:
    mutant = MUTANTS[name]
    assert _work(mutant.machines, mutant.mix) > 1.01 * _work(REAL, mutant.mix)


@cache
def _work(machines: Machines, mix: str) -> int:
    """Hops that took effect, for the same rows."""
    outcomes = [simulate(generate(seed, mix), machines) for seed in range(ENOUGH)]
    assert not any(outcome.broken for outcome in outcomes)
    return sum(outcome.hops for outcome in outcomes)
