"""`output.targetRows` under the simulator's faults: exactly so many, and none begun in vain."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from weft.protocol.source import SourceNode
from weft.simulation import Schedule, generate, simulate
from weft.simulation.head_process import HeadProcess
from weft.simulation.schedule import MIXES


def _schedules(mix: str, seeds: range) -> Iterator[Schedule]:
    """With targets from one row to more than the source can give."""
    for seed in seeds:
        drawn = generate(seed, mix)
        target = 1 + seed % max(2, drawn.rows)
        yield msgspec.structs.replace(drawn, target=target)


@pytest.mark.parametrize("mix", sorted(set(MIXES)))
def test_exactly_the_target_is_accepted_under(mix: str) -> None:
    broken = [
        (schedule.seed, outcome.broken)
        for schedule in _schedules(mix, range(40))
        if (outcome := simulate(schedule)).broken
    ]
    assert broken == []


def test_a_source_that_does_not_count_what_only_waits_for_its_commit_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Such rows take no place among those in flight; to the target they count.
    def wants(self: HeadProcess, node: SourceNode, row: int) -> bool:
        target = self.world.schedule.target
        under_way = len(node.outstanding) - len(node.arrived)
        return target is None or len(self._accepted) + under_way < target

    monkeypatch.setattr(HeadProcess, "wants", wants)
    found = [simulate(schedule).broken or "" for schedule in _schedules("calm", range(100))]
    assert any(told.startswith("target: ") for told in found)
