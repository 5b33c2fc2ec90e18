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
from weft_operator import names
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


@pytest.mark.parametrize("where", ["manifest", "ConfigMap"])
def test_a_changed_prompt_reaches_the_head_within_two_seconds(where: str) -> None:
    """Though nothing else happens that would have the pipeline looked at."""

    async def main(time: VirtualTime) -> None:
        async with World(time, lambda _: Gate()) as world:
            await asyncio.sleep(1)
            reference = {"name": "draft", "configMapKeyRef": {"name": "prompts", "key": "draft"}}
            world.apply(prompt_map("One."), pipeline(prompts=[reference]), pool())
            await world.serves(2)
            for generation in range(2, 6):
                text = f"Version {generation}."
                if where == "ConfigMap":
                    world.apply(prompt_map(text))
                else:
                    world.apply(pipeline(prompts=[{"name": "draft", "text": text}]))
                changed = time.now
                taken = f"plan {generation} taken"
                await world.until(taken, lambda t=taken: world.cluster.done[t])  # type: ignore[misc]
                assert time.now - changed <= 2.0
                await asyncio.sleep(1.7)

    virtual_time.run(main)


def test_a_refused_plan_is_told_once_and_the_run_goes_on_by_the_old_one() -> None:
    async def main(time: VirtualTime) -> None:
        async with World(time, lambda _: Gate()) as world:
            await asyncio.sleep(1)
            world.apply(pipeline(), pool())
            await world.serves(2)
            world.cluster.refuses = "drafter-1: spec.config: there is no such setting"
            world.apply(pipeline(prompts=[{"name": "draft", "text": "Another."}]))

            def stalled() -> str:
                found = world.condition("syntheticpipelines", "support", "Stalled")
                return str(found.get("reason")) if found.get("status") == "True" else ""

            await world.until("it is told", lambda: stalled() == "PlanRefused")
            await asyncio.sleep(100)
            assert world.status()["phase"] == "Running"
            assert "no such setting" in world.status()["message"]
            warnings = [e for e in world.server.all("events") if e["type"] == "Warning"]
            assert [event["reason"] for event in warnings] == ["PlanRefused"]

            world.cluster.refuses = ""
            world.apply(pipeline(prompts=[{"name": "draft", "text": "A good one."}]))
            await world.until("it is taken", lambda: world.cluster.done["plan 3 taken"])
            await world.until("all is well", lambda: not stalled())

    virtual_time.run(main)


def test_a_config_map_of_the_users_with_the_pipelines_label_is_not_taken_for_the_plan() -> None:
    """Kustomize puts common labels on everything; its name may come first in the alphabet."""

    async def main(time: VirtualTime) -> None:
        async with World(time, lambda _: Gate()) as world:
            await asyncio.sleep(1)
            theirs = prompt_map("One.")
            theirs["metadata"] |= {"name": "a-map", "labels": {names.PIPELINE_LABEL: "support"}}
            world.apply(theirs, pipeline(), pool())
            await world.serves(2)
            assert world.status()["planGeneration"] == 1

    virtual_time.run(main)


def prompt_map(text: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "prompts", "namespace": NAMESPACE},
        "data": {"draft": text},
    }
