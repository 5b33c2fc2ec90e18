"""From names in a manifest to classes and configs: each fault is one line that says what to do."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from weft.agent import Agent, AgentConfig
from weft.builtin import ValidatorAgent
from weft.loading import LoadError, agent_class, check_config, config_faults


class Good(Agent):
    class Config(AgentConfig):
        max_turns: int
        prompt: str = "draft"

    async def handle(self, row: Any, ctx: Any) -> str | None:
        return None


class Idle(Agent):
    """Has no handle."""


class Misconfigured(Good):
    Config = dict  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def module(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = types.ModuleType("weft_test_agents")
    made.__dict__.update(Good=Good, Idle=Idle, Misconfigured=Misconfigured, five=5, Plain=dict)
    monkeypatch.setitem(sys.modules, "weft_test_agents", made)
    (tmp_path / "weft_test_broken.py").write_text("1 / 0\n")
    (tmp_path / "weft_test_needs.py").write_text("import weft_no_such_library\n")
    (tmp_path / "weft_test_syntax.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_a_class_is_found_by_its_path() -> None:
    assert agent_class("weft_test_agents:Good") is Good


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("weft_no_such:Agent", "there is no module `weft_no_such` in this environment"),
        ("weft.nope:Agent", "there is no module `weft.nope` in this environment"),
        ("weft_test_needs:X", "needs `weft_no_such_library`, which is not installed"),
        ("weft_test_broken:X", "importing `weft_test_broken` failed: ZeroDivisionError"),
        ("weft_test_syntax:X", "importing `weft_test_syntax` failed: SyntaxError"),
        ("weft_test_agents:Goood", 'has no `Goood`; did you mean "Good"?'),
        ("weft_test_agents:five", "is a int, not a class"),
        ("weft_test_agents:Plain", "is not an Agent; derive the class from weft.Agent"),
        ("weft_test_agents:Idle", "has no `handle`"),
        ("weft.agent:Agent", "has no `handle`"),
        ("weft_test_agents:Misconfigured", "its Config is not an AgentConfig"),
        ("weft_test_agents", "write package.module:name"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_in_one_line(path: str, told: str) -> None:
    with pytest.raises(LoadError) as refused:
        agent_class(path)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_manifests_write_camel_case_and_authors_snake_case() -> None:
    assert check_config(Good, {"maxTurns": 3}, "x") == Good.Config(max_turns=3)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"max_turns": 3, "maxTurns": 1}, 'x.max_turns: Good has no such setting; did you mean'),
        ({"maxTurns": 3, "promt": "a"}, 'x.promt: Good has no such setting; did you mean "prompt"'),
        ({}, "x.maxTurns: Good needs this setting; add it"),
        ({"maxTurns": "many"}, "x.maxTurns: input should be a valid integer"),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit_names_the_field(config: dict[str, Any], told: str) -> None:
    with pytest.raises(LoadError) as refused:
        check_config(Good, config, "x")
    assert told in str(refused.value)


def test_faults_deep_in_a_config_are_told_where_they_are_all_at_once() -> None:
    config = {"checks": [{"lenght": {}}, {"length": {"mim": 1}}, {"regex": {"pattern": "("}}]}
    faults = config_faults(ValidatorAgent, config, "AgentPool v: spec.config")
    assert [fault.split(": ")[1] for fault in faults] == [
        "spec.config.checks[0].lenght",
        "spec.config.checks[1].length.mim",
        "spec.config.checks[2].regex.pattern",
    ]
    assert 'did you mean "length"?' in faults[0]
    assert 'did you mean "min"?' in faults[1]
