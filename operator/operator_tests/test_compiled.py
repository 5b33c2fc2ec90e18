"""Manifests become Plans again and again; what need not be done twice is not."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest

from operator_tests.samples import World, pipeline, pool, stored
from weft_api import plan as plans
from weft_operator.decide import compiled as module
from weft_operator.decide.compiled import compiled
from weft_operator.facts import Observed


@pytest.fixture
def sought(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each pipeline's faults have been looked for."""
    found: Counter[str] = Counter()
    seek = plans.faults

    def counted(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
        found[pipeline.metadata.uid] += 1
        return seek(pipeline, *args, **kwargs)

    monkeypatch.setattr(plans, "faults", counted)
    return found


def seen(uid: str, **spec: Any) -> Observed:
    world = World()
    return dataclasses.replace(world.seen(), pipeline=stored(pipeline(**spec), uid))


def test_a_thousand_pipelines_are_checked_once_each_and_not_each_time(
    sought: Counter[str],
) -> None:
    for _ in range(3):
        for n in range(1000):
            assert compiled(seen(f"u{n}")).plan is not None
    assert len(sought) == 1000
    assert set(sought.values()) == {1}


def test_a_changed_manifest_is_checked_and_so_is_one_with_faults(sought: Counter[str]) -> None:
    compiled(seen("changed"))
    compiled(seen("changed", seed=2))
    assert sought["changed"] == 2
    for _ in range(2):
        faulty = seen("faulty", seed=3)
        alone = dataclasses.replace(faulty, pools=(stored(pool(step="nobody")),))
        assert compiled(alone).faults


def test_what_is_made_again_is_the_same() -> None:
    first = compiled(seen("again"))
    module._recent.clear()
    assert compiled(seen("again")) == first


def test_large_plans_are_not_remembered() -> None:
    module._recent.clear()
    prompts = [{"name": f"p{n}", "text": "x" * 50_000} for n in range(2)]
    assert compiled(seen("large", prompts=[*prompts, {"name": "draft", "text": "Write."}])).plan
    assert not module._recent
