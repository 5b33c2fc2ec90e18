"""What the README shows is right: its manifests compile, its agent loads, its links lead on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Weft

README = Path(__file__).parents[3] / "README.md"
TEXT = README.read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_first_pipeline_is_valid_with_the_agent_beside_it(tmp_path: Path, weft: Weft) -> None:
    (tmp_path / "pipeline.yaml").write_text(blocks("yaml")[0])
    (tmp_path / "my_agents.py").write_text(blocks("python")[0])
    result = weft("validate", tmp_path)
    assert (result.code, result.err) == (0, "")
    assert "pipeline facts: 2 steps, 2 pools, 1 prompt; 100 rows" in result.out


def test_the_pipeline_for_a_cluster_is_valid(tmp_path: Path, weft: Weft) -> None:
    (tmp_path / "pipeline.yaml").write_text(blocks("yaml")[1])
    result = weft("validate", tmp_path, "--manifests-only")
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize("link", re.findall(r"\]\(((?!http)[^)#]+)\)", TEXT))
def test_links_lead_to_files(link: str) -> None:
    assert (README.parent / link).exists()


def test_targets_of_make_exist() -> None:
    makefile = (README.parent / "Makefile").read_text()
    for target in set(re.findall(r"\bmake (?:-s )?([a-z][a-z-]*)\b", TEXT)) - {"are"}:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
