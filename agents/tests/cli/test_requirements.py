"""The pinned files hold what `pyproject.toml` asks for: a version raised there is raised here."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOT_IN_VLLMS = {"google-re2", "mcp", "openlineage-python"}
"""What the tests in vLLM's environment do not touch."""


def _wanted(*extras: str) -> dict[str, Requirement]:
    texts = [*PROJECT["dependencies"]]
    for extra in extras:
        texts += PROJECT["optional-dependencies"][extra]
    return {canonicalize_name(each.name): each for each in map(Requirement, texts)}


def _pinned(path: str) -> dict[str, str]:
    pins = {}
    for line in (ROOT / path).read_text().splitlines():
        requirement = line.partition(";")[0].strip()
        if "==" in requirement and not requirement.startswith("#"):
            name, _, version = requirement.partition("==")
            pins[canonicalize_name(name.partition("[")[0])] = version
    return pins


@pytest.mark.parametrize(
    ("path", "extras", "without"),
    [
        ("requirements/agents.txt", ("agents", "governance"), set()),
        ("requirements/operator.txt", ("operator",), set()),
        ("requirements/dev.txt", ("agents", "operator", "governance", "dev"), set()),
        ("e2e/vllm/requirements.txt", ("agents",), NOT_IN_VLLMS),
    ],
)
def test_what_the_project_asks_for_is_pinned(
    path: str, extras: tuple[str, ...], without: set[str]
) -> None:
    pins = _pinned(path)
    wanted = _wanted(*extras)
    assert without <= set(wanted)
    for name in sorted(set(wanted) - without):
        assert name in pins, f"{path} lacks {name}"
        assert pins[name] in wanted[name].specifier, f"{path}: {name}=={pins[name]}"
