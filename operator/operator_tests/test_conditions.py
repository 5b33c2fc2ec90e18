"""Conditions as kstatus reads them."""

from __future__ import annotations

import pytest

from operator_tests.samples import NOW
from weft_operator.decide.conditions import State, conditions
from weft_operator.jsontypes import merge_patch

READY = State("AllServing", "2 agents serve", ready=True)


def test_the_time_stays_while_the_status_stays() -> None:
    first = conditions(READY, [], generation=1, now=NOW)
    later = conditions(READY, first, generation=2, now=NOW + 60)
    times = [c["lastTransitionTime"] for c in first]
    assert [c["lastTransitionTime"] for c in later] == times
    assert {c["observedGeneration"] for c in later} == {2}
    turned = conditions(State("Starting", "", progressing=True), later, generation=2, now=NOW + 60)
    changed = {
        c["type"]
        for c, old in zip(turned, later, strict=True)
        if c["lastTransitionTime"] != old["lastTransitionTime"]
    }
    assert changed == {"Ready", "Progressing"}


@pytest.mark.parametrize(
    "state",
    [
        READY,
        State("Starting", "1 of 2 agents serve", progressing=True),
        State("Invalid", "spec.flow: no such step", stalled=True),
        State("Suspended", "suspended"),
    ],
)
def test_every_condition_explains_itself(state: State) -> None:
    made = conditions(state, [], generation=1, now=NOW)
    assert all(c["message"] and c["reason"] for c in made)
    true = {c["type"]: c["message"] for c in made if c["status"] == "True"}
    assert set(true.values()) <= {state.message}


def test_the_same_again_is_the_same_object() -> None:
    first = conditions(READY, [], generation=1, now=NOW)
    assert conditions(READY, first, generation=1, now=NOW + 999) == first
    assert merge_patch({"conditions": first}, {"conditions": first}) == {}


def test_other_peoples_conditions_are_kept() -> None:
    theirs = {"type": "Audited", "status": "True", "reason": "x", "message": ""}
    made = conditions(READY, [theirs], generation=1, now=NOW)
    assert theirs in made
    assert len(made) == 4


def test_a_condition_that_no_longer_applies_goes() -> None:
    gpus = State("NoMatchingNode", "", stalled=True, extra=(("GPUsMatched", False, "x", ""),))
    first = conditions(gpus, [], generation=1, now=NOW)
    assert "GPUsMatched" not in [c["type"] for c in conditions(READY, first, generation=1, now=NOW)]


def test_a_message_is_bounded() -> None:
    made = conditions(State("Invalid", "x" * 10**6, stalled=True), [], generation=1, now=NOW)
    assert len(made[0]["message"]) <= 4096


def test_a_merge_patch_takes_away_what_is_gone() -> None:
    old = {"phase": "Succeeded", "finishedAt": "x", "rows": {"dead": 1, "accepted": 2}}
    new = {"phase": "Starting", "rows": {"dead": 1, "accepted": 3}}
    patch = {"phase": "Starting", "finishedAt": None, "rows": {"accepted": 3}}
    assert merge_patch(old, new) == patch
