"""The operator dies before and after each of its writes; the end is the same as without."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from operator_tests.model import virtual_time
from operator_tests.model.life import Crash, Gate
from operator_tests.model.scenarios import SCENARIOS
from operator_tests.model.virtual_time import VirtualTime
from operator_tests.model.world import World
from weft_operator.jsontypes import Object

ROLLING = ("change_image",)

Outcome = tuple[Object, Counter[str], Counter[str], list[str]]
"""The end state, effects, what was told, and the writes of the first life."""


def outcome(scenario: str, crash: Crash | None = None) -> Outcome:
    async def main(time: VirtualTime) -> Outcome:
        def gates(life: int) -> Gate:
            return crash if crash is not None and life == 0 else Gate()

        async with World(time, gates) as world:
            await SCENARIOS[scenario](world)
            assert world.deaths == (crash is not None)
            return world.picture(), world.effects(), world.told(), world.gates[0].log

    return virtual_time.run(main)


@cache
def without_crash(scenario: str) -> Outcome:
    return outcome(scenario)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_it_ends_the_same_wherever_the_operator_dies(scenario: str) -> None:
    picture, effects, told, writes = without_crash(scenario)
    assert len(writes) >= 8
    for at in range(1, len(writes) + 1):
        for after in (False, True):
            where = f"{scenario}: dies {'after' if after else 'before'} {at} {writes[at - 1]}"
            end, done, said, _ = outcome(scenario, Crash(at, after=after))
            assert end == picture, where
            if scenario in ROLLING:
                # In how many steps goes by who serves when somebody looks; whose pods come and go
                # does not.
                done["patch rayclusters/support"] = effects["patch rayclusters/support"]
            assert done == effects, where
            # What came and went while no operator looked may go untold; nothing is told twice.
            assert not said - told, where
            assert last_words(end) <= said.keys(), where


def last_words(end: Object) -> set[str]:
    """The Events that tell how each pipeline stands now."""
    statuses = {name: obj.get("status") for name, obj in end.items() if "syntheticpipe" in name}
    return {
        f"SyntheticPipeline/{name.rpartition('/')[2]} {status['phase']}: {status['message']}"
        for name, status in statuses.items()
        if status
    }
