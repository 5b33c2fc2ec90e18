"""A failing schedule made small: fewer faults, fewer rows, less of everything, while it still fails
in the same way."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from weft.simulation.machines import REAL, Machines
from weft.simulation.schedule import Schedule
from weft.simulation.world import Outcome, simulate

TRIES = 400
"""Runs at the most."""
AGAIN = 3
"""A smaller schedule draws other dice: it gets this many seeds to fail with."""


def shrink(outcome: Outcome, machines: Machines = REAL) -> Outcome:
    """The outcome of the smallest schedule found that breaks the same rule."""
    kind = _kind(outcome)
    tries = TRIES
    best = outcome
    smaller = True
    while smaller and tries > 0:
        smaller = False
        for candidate in _smaller(best.schedule):
            for other in range(AGAIN):
                if tries <= 0:
                    break
                tries -= 1
                seed = best.schedule.seed + other * 1_000_003
                found = simulate(msgspec.structs.replace(candidate, seed=seed), machines)
                if _kind(found) == kind:
                    best = found
                    smaller = True
                    break
            if smaller:
                break
    return best


def _kind(outcome: Outcome) -> str:
    return outcome.broken.partition(":")[0]


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Schedules with one thing less, the greatest steps first."""
    replace = msgspec.structs.replace
    faults = schedule.faults
    if len(faults) > 1:
        yield replace(schedule, faults=faults[: len(faults) // 2])
        yield replace(schedule, faults=faults[len(faults) // 2 :])
    for index in range(len(faults)):
        yield replace(schedule, faults=faults[:index] + faults[index + 1 :])
    if schedule.rows > 1:
        yield replace(schedule, rows=schedule.rows // 2)
        yield replace(schedule, rows=schedule.rows - 1)
    for step, count in schedule.agents.items():
        if count > 1:
            yield replace(schedule, agents={**schedule.agents, step: count - 1})
    for name in (
        "loss",
        "duplication",
        "reordering",
        "failing",
        "silent",
        "buried",
        "commit_before",
        "commit_unknown",
        "commit_death",
    ):
        if getattr(schedule, name):
            yield replace(schedule, **{name: 0.0})
    for name, least in (("source_partitions", 1), ("concurrency", 1)):
        if getattr(schedule, name) > least:
            yield replace(schedule, **{name: least})
