"""What the reconcile makes of answers that are no plain yes, against the model of a cluster."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

import pytest

from operator_tests.model import virtual_time
from operator_tests.model.life import Gate
from operator_tests.model.scenarios import create, suspend_and_think_better_of_it
from operator_tests.model.virtual_time import VirtualTime
from operator_tests.model.world import NAMESPACE, World
from operator_tests.samples import pipeline, pool
from weft_operator.jsontypes import Object


class Rival(Gate):
    """Somebody whose change to the cluster comes just before the operator's."""

    world: World
    change: Object | None = None

    async def write(self, method: str, path: str, effect: Callable[[], Object]) -> Object:
        if self.change and method == "PATCH" and path.endswith("rayclusters/support"):
            change, self.change = self.change, None
            self.world.merge("rayclusters", "support", change)
        return effect()


def test_in_a_namespace_that_is_being_deleted_it_keeps_quiet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(time: VirtualTime) -> None:
        async with World(time, lambda _: Gate()) as world:
            await asyncio.sleep(1)
            world.apply(pipeline(), pool())
            world.server.terminating.add(NAMESPACE)
            await asyncio.sleep(90)
            assert not world.status()
            assert len(world.gates[0].log) <= 4 * 4

    with caplog.at_level(logging.WARNING):
        virtual_time.run(main)
    assert not caplog.records


def test_a_change_by_hand_between_look_and_write_is_no_refusal() -> None:
    """The API server answers 422 to a JSON patch whose test fails: look again, say nothing."""

    async def main(time: VirtualTime) -> None:
        rival = Rival()
        async with World(time, lambda _: rival) as world:
            await create(world)
            rival.change = {"spec": {"rayVersion": "0.0.1"}}
            rival.world = world
            world.merge("agentpools", "drafter", {"spec": {"replicas": 3}})
            await world.serves(3)
            assert not rival.change, "it was never in the way"
            assert not [e for e in world.server.all("events") if e["type"] == "Warning"]

    virtual_time.run(main)


def test_a_pipeline_that_is_resumed_while_it_drains_gets_a_new_head() -> None:
    async def main(time: VirtualTime) -> None:
        async with World(time, lambda _: Gate()) as world:
            await suspend_and_think_better_of_it(world)

    virtual_time.run(main)


class Counting(Gate):
    """Knows how often each path was read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()

    async def read(self, path: str, effect: Callable[[], Object]) -> Object:
        self.reads[path] += 1
        return effect()


def test_a_new_pipeline_is_four_objects_a_report_and_no_read() -> None:
    async def main(time: VirtualTime) -> None:
        gate = Counting()
        async with World(time, lambda _: gate) as world:
            await asyncio.sleep(1)
            start = gate.reads.copy()
            world.cluster.lag = 1.0  # neither KubeRay nor the kubelets do anything
            world.apply(pipeline(), pool())
            await world.until("it is reported", world.pool_status)
            await world.rest()
            made = ["configmaps", "networkpolicies", "rayclusters", "secrets"]
            reported = ["agentpools/drafter/status", "events", "syntheticpipelines/support/status"]
            written = sorted(each.split("/team/")[1] for each in gate.log)
            assert written == sorted([*made, *reported])
            assert gate.reads == start

    virtual_time.run(main)
