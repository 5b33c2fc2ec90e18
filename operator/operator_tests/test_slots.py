"""Rollouts: as tables for single steps, and as whole rollouts against a model of KubeRay."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft_operator.decide.slots import SURGE, Slot, SlotPod, SlotTarget, next_step


def pods(prefix: str, count: int, *, serving: bool = True) -> tuple[SlotPod, ...]:
    return tuple(SlotPod(f"{prefix}{n}", serving=serving) for n in range(count))


def target(step_slots: tuple[SlotTarget, ...], name: str) -> SlotTarget:
    return next(slot for slot in step_slots if slot.name == name)


UNUSED_A, UNUSED_B = Slot("a", "", 0), Slot("b", "", 0)


def test_a_new_pool_starts_in_its_first_slot() -> None:
    step = next_step([UNUSED_A, UNUSED_B], revision="r1", replicas=3, judged=False)
    assert target(step.slots, "a") == SlotTarget("a", "r1", 3)
    assert target(step.slots, "b").replicas == 0
    assert step.phase == "starting"


def test_nothing_is_due_when_all_serve() -> None:
    slots = [Slot("a", "r1", 2, pods=pods("x", 2)), UNUSED_B]
    step = next_step(slots, revision="r1", replicas=2)
    assert step.phase == "settled"
    assert target(step.slots, "a") == SlotTarget("a", "r1", 2)


def test_a_new_revision_goes_to_the_idle_slot_and_takes_nothing_away_yet() -> None:
    slots = [Slot("a", "r1", 4, pods=pods("x", 4)), UNUSED_B]
    step = next_step(slots, revision="r2", replicas=4)
    assert target(step.slots, "b") == SlotTarget("b", "r2", 1)
    assert target(step.slots, "a") == SlotTarget("a", "r1", 4)
    assert (step.phase, step.current_revision) == ("rolling", "r1")


def test_for_each_new_one_that_serves_an_old_one_leaves_by_name() -> None:
    slots = [
        Slot("a", "r1", 4, pods=pods("x", 4)),
        Slot("b", "r2", 1, pods=pods("y", 1)),
    ]
    step = next_step(slots, revision="r2", replicas=4)
    old = target(step.slots, "a")
    assert old.replicas == 3
    assert len(old.leaving) == 1
    assert target(step.slots, "b").replicas == 2


def test_the_least_loaded_leaves_and_one_that_does_not_serve_before_it() -> None:
    busy = SlotPod("busy", serving=True, load=9)
    idle = SlotPod("idle", serving=True, load=0)
    broken = SlotPod("broken", serving=False, load=50)
    slots = [Slot("a", "r1", 3, pods=(busy, idle, broken)), UNUSED_B]
    two = target(next_step(slots, revision="r1", replicas=2).slots, "a")
    assert two.leaving == ("broken",)
    one = target(next_step(slots, revision="r1", replicas=1).slots, "a")
    assert one.leaving == ("broken", "idle")


def test_a_name_stays_until_its_pod_is_gone() -> None:
    leaving = SlotPod("x1", serving=False, deleting=True)
    slots = [Slot("a", "r1", 1, ("x1",), (SlotPod("x0", serving=True), leaving)), UNUSED_B]
    assert target(next_step(slots, revision="r1", replicas=1).slots, "a").leaving == ("x1",)
    slots = [Slot("a", "r1", 1, ("x1",), (SlotPod("x0", serving=True),)), UNUSED_B]
    assert target(next_step(slots, revision="r1", replicas=1).slots, "a").leaving == ()


def test_while_the_head_is_silent_nothing_that_serves_is_taken_away() -> None:
    slots = [
        Slot("a", "r1", 4, pods=pods("x", 4)),
        Slot("b", "r2", 4, pods=pods("y", 4)),
    ]
    step = next_step(slots, revision="r2", replicas=4, judged=False)
    assert target(step.slots, "a") == SlotTarget("a", "r1", 4)


def test_a_held_rollout_stays_where_it_is() -> None:
    slots = [
        Slot("a", "r1", 3, pods=pods("x", 3)),
        Slot("b", "r2", 1, pods=pods("y", 1)),
    ]
    step = next_step(slots, revision="r2", replicas=4, hold="the judge has not spoken")
    assert [(s.name, s.replicas) for s in step.slots] == [("a", 3), ("b", 1)]
    assert step.phase == "held"


def test_a_cluster_without_pods_needs_no_rollout() -> None:
    slots = [Slot("a", "r1", 4), UNUSED_B]
    step = next_step(slots, revision="r2", replicas=4, asleep=True)
    assert [(s.name, s.revision, s.replicas) for s in step.slots] == [
        ("a", "r1", 0),
        ("b", "r2", 4),
    ]


def test_a_third_revision_first_clears_the_slot_of_the_second() -> None:
    slots = [
        Slot("a", "r1", 3, pods=pods("x", 3)),
        Slot("b", "r2", 1, pods=pods("y", 1)),
    ]
    step = next_step(slots, revision="r3", replicas=4)
    # r2's pod serves, so it stays until r1 is complete again.
    assert [(s.name, s.replicas) for s in step.slots] == [("a", 4), ("b", 1)]
    assert step.phase == "clearing"
    slots[0] = Slot("a", "r1", 4, pods=pods("x", 4))
    step = next_step(slots, revision="r3", replicas=4)
    assert [(s.name, s.revision, s.replicas) for s in step.slots] == [
        ("a", "r1", 4),
        ("b", "r2", 0),
    ]


def test_a_hand_scaled_idle_slot_is_emptied() -> None:
    slots = [Slot("a", "r1", 2, pods=pods("x", 2)), Slot("b", "r0", 2, pods=pods("y", 2))]
    step = next_step(slots, revision="r1", replicas=2)
    assert target(step.slots, "b").replicas == 0


def test_a_hand_scaled_slot_that_was_never_used_is_emptied_before_the_other_serves() -> None:
    """Its template runs nothing, so that nobody has to make good what its pods serve."""
    slots = [
        Slot("a", "r1", 0, pods=(SlotPod("x0", serving=False, deleting=True),)),
        Slot("b", "", 1, pods=pods("y", 1, serving=False)),
    ]
    step = next_step(slots, revision="r1", replicas=2, judged=False)
    assert target(step.slots, "a") == SlotTarget("a", "r1", 2)
    assert target(step.slots, "b") == SlotTarget("b", "", 0)


@pytest.mark.parametrize("replicas", [0, 1, 5])
def test_to_none_and_back(replicas: int) -> None:
    slots = [Slot("a", "r1", 3, pods=pods("x", 3)), UNUSED_B]
    assert target(next_step(slots, revision="r1", replicas=0).slots, "a") == SlotTarget(
        "a", "r1", 0
    )
    slots = [Slot("a", "r1", 0), UNUSED_B]
    step = next_step(slots, revision="r1", replicas=replicas)
    assert target(step.slots, "a").replicas == replicas


@dataclass
class Model:
    """KubeRay and the kubelets, as far as groups go: KubeRay 1.6's reconcilePods, by the order of
    its steps, with the delays of the real thing drawn by chance."""

    chance: random.Random
    groups: dict[str, SlotTarget] = field(default_factory=dict)
    pods: dict[str, list[list[object]]] = field(default_factory=dict)  # [name, revision, state]
    made: int = 0

    def write(self, targets: tuple[SlotTarget, ...]) -> None:
        for each in targets:
            self.groups[each.name] = each

    def kuberay(self) -> None:
        for name, group in self.groups.items():
            own = self.pods.setdefault(name, [])
            for pod in own:
                if pod[0] in group.leaving:
                    pod[2] = "leaving"
            running = [pod for pod in own if pod[0] not in group.leaving]
            for _ in range(group.replicas - len(running)):
                self.made += 1
                own.append([f"{name}{self.made}", group.revision, "starting"])
            for pod in running[: max(0, len(running) - group.replicas)]:
                pod[2] = "leaving"

    def kubelet(self) -> None:
        for own in self.pods.values():
            for pod in list(own):
                if self.chance.random() < 0.5:
                    continue
                if pod[2] == "starting":
                    pod[2] = "serving"
                elif pod[2] == "leaving":
                    own.remove(pod)

    def slots(self) -> list[Slot]:
        seen = []
        for name in ("a", "b"):
            group = self.groups.get(name, SlotTarget(name, "", 0))
            own = tuple(
                SlotPod(str(p[0]), serving=p[2] == "serving", deleting=p[2] == "leaving")
                for p in self.pods.get(name, [])
            )
            seen.append(Slot(name, group.revision, group.replicas, group.leaving, own))
        return seen

    def serving(self) -> int:
        return sum(slot.serving for slot in self.slots())


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    replicas=st.integers(1, 9),
    changes=st.lists(st.sampled_from(["r1", "r2", "r3", "r4"]), min_size=1, max_size=4),
    patience=st.integers(1, 25),
)
def test_through_any_rollouts_never_fewer_serve_and_they_end(
    seed: int, replicas: int, changes: list[str], patience: int
) -> None:
    """`patience`: steps before the manifest is changed once more, so mid-rollout as well."""
    model = Model(random.Random(seed))

    def advance(revision: str) -> str:
        step = next_step(model.slots(), revision=revision, replicas=replicas)
        model.write(step.slots)
        if model.chance.random() < 0.8:
            model.kuberay()
        model.kubelet()
        return step.phase

    for _ in range(200):
        if advance("r0") == "settled":
            break
    assert model.serving() == replicas
    most = replicas + max(1, math.ceil(replicas * SURGE))
    for revision in changes:
        for _ in range(patience):
            advance(revision)
            assert model.serving() >= replicas
            present = [p for own in model.pods.values() for p in own if p[2] != "leaving"]
            # Two rollouts on top of each other may each have their surge out.
            assert len(present) <= most + replicas
    last = changes[-1]
    for _ in range(400):
        if advance(last) == "settled":
            break
        assert model.serving() >= replicas
    live = [p for own in model.pods.values() for p in own if p[2] != "leaving"]
    assert [p[1] for p in live] == [last] * replicas
