"""Files and folders become manifests as `kubectl apply -f` would see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft_api.errors import ManifestErrors
from weft_api.load import load

PIPELINE = """\
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {name: NAME}
spec:
  source: {dataset: {uri: rows/tickets.csv}}
  output: {uri: out}
  flow: {entry: drafter, steps: [{name: drafter, next: [{to: $accept}]}]}
  prompts:
  - {name: draft, configMapKeyRef: {name: texts, key: draft.txt}}
"""
POOL = """\
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: NAME}
spec: {pipelineRef: {name: PIPELINE}, step: drafter, agent: "weft.builtin:ChatAgent"}
"""
OTHERS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: texts}
data: {draft.txt: "Help."}
---
apiVersion: v1
kind: Secret
metadata: {name: bucket}
---
"""


def pipeline(name: str = "support") -> str:
    return PIPELINE.replace("NAME", name)


def pool(name: str = "drafter", of: str = "support") -> str:
    return POOL.replace("PIPELINE", of).replace("NAME", name)


def faults(*args: object, **kwargs: str) -> list[str]:
    with pytest.raises(ManifestErrors) as caught:
        load(*args, **kwargs).compile()  # type: ignore[arg-type]
    return [str(error) for error in caught.value.errors]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").write_text(pipeline())
    (tmp_path / "pools.yml").write_text(f"{OTHERS}{pool()}---\n{pool('second')}")
    (tmp_path / "kustomization.yaml").write_text("resources: [pipeline.yaml]\n")
    (tmp_path / "notes.txt").write_text("no manifest")
    return tmp_path


def test_a_folder_is_read_with_config_maps_and_without_what_is_none_of_ours(folder: Path) -> None:
    plan = load([folder]).compile(generation=3)
    assert plan.generation == 3
    assert [item.name for item in plan.pools] == ["drafter", "second"]
    assert plan.prompts[0].text == "Help."


def test_files_can_be_named_one_by_one(folder: Path) -> None:
    assert load(["pipeline.yaml", "pools.yml"]).compile().pipeline == "support"


def test_relative_paths_start_at_the_pipelines_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    plan = load([folder]).compile()
    assert plan.source.dataset is not None
    assert plan.source.dataset.uri == str(folder / "rows/tickets.csv")
    assert plan.output.uri == str(folder / "out")


def test_several_pipelines_are_told_apart_by_name(folder: Path) -> None:
    (folder / "other.yaml").write_text(f"{pipeline('other')}---\n{pool('third', 'other')}")
    assert faults([folder]) == [
        'manifests: there are several pipelines: "other" '
        f'({folder}/other.yaml:1), "support" ({folder}/pipeline.yaml:1); choose one by its name'
    ]
    assert [p.name for p in load([folder], pipeline="other").compile().pools] == ["third"]
    assert [p.name for p in load([folder], pipeline="support").compile().pools] == [
        "drafter",
        "second",
    ]
    assert faults([folder], pipeline="suport") == [
        'manifests: pipeline "suport" does not exist; did you mean "support"?'
    ]


def test_all_files_are_read_before_it_complains(folder: Path) -> None:
    (folder / "a.yaml").write_text("a: [1\n")
    (folder / "b.yaml").write_text("kind: AgentPool\n")
    (folder / "c.yaml").write_bytes(b"a: 1\nb: \xff\n")
    lines = faults(["a.yaml", "b.yaml", "c.yaml", "gone.yaml"])
    assert [line.split(": ")[0] for line in lines] == [
        "a.yaml:2",
        "b.yaml:1",
        "c.yaml:2",
        "gone.yaml",
    ]
    assert lines[2:] == [
        "c.yaml:2: is no UTF-8 text; save it as UTF-8",
        "gone.yaml: does not exist; check the path",
    ]


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    assert faults([tmp_path]) == [
        f"{tmp_path}: has no manifests; name a folder with files that end in .yaml, .yml, .json"
    ]


def test_an_empty_file_has_no_pipeline(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# nothing\n---\n")
    assert faults([tmp_path]) == ["manifests: there is no SyntheticPipeline; add one"]


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(9 << 20)
    assert faults([tmp_path]) == [f"{tmp_path}/a.yaml: is larger than 8 MiB; name a manifest"]


def test_json_and_a_byte_order_mark_are_read(folder: Path) -> None:
    (folder / "pools.yml").write_text(
        '\ufeff{"apiVersion": "weft.dev/v1alpha1", "kind": "AgentPool",\n'
        ' "metadata": {"name": "drafter"}, "spec": {"pipelineRef": {"name": "support"},\n'
        ' "agent": "weft.builtin"}}',
        encoding="utf-8",
    )
    assert faults([folder])[0].startswith(f"{folder}/pools.yml:3: spec.agent: ")


def test_faults_come_in_the_order_of_files_and_lines(folder: Path) -> None:
    text = pipeline().replace("entry: drafter", "entry: draftr").replace("texts", "text")
    (folder / "pipeline.yaml").write_text(text)
    (folder / "pools.yml").write_text(pool().replace("step: drafter", "step: drafted"))
    places = [line.split(": ")[0] for line in faults(["pools.yml", "pipeline.yaml"])]
    assert places == ["pipeline.yaml:7", "pipeline.yaml:9", "pools.yml:4"]


def test_anchors_and_merge_keys_work(folder: Path) -> None:
    text = pool().replace("metadata: {", "metadata: &meta {")
    config = "config: {<<: *meta, more: *meta}"
    text = text.replace("step: drafter", f"step: drafter, {config}")
    (folder / "pools.yml").write_text(OTHERS + text)
    (only,) = load([folder]).compile().pools
    assert only.config == {"name": "drafter", "more": {"name": "drafter"}}


def test_an_alias_of_nothing_is_refused(folder: Path) -> None:
    (folder / "pools.yml").write_text(pool().replace("step: drafter", "step: *name"))
    (line,) = faults(["pools.yml"])
    assert line == "pools.yml:4: is no YAML: found undefined alias 'name'; correct the line"


def test_dates_stay_text(folder: Path) -> None:
    text = pool().replace("step: drafter,", "step: drafter, config: {day: 2026-01-31},")
    (folder / "pools.yml").write_text(OTHERS + text)
    assert load([folder]).compile().pools[0].config == {"day": "2026-01-31"}


@pytest.mark.parametrize("value", [".inf", ".nan", "!!binary aGk=", "!!timestamp 2026-01-31"])
def test_what_json_does_not_have_is_refused(folder: Path, value: str) -> None:
    text = pool().replace("step: drafter,", f"step: drafter, config: {{x: {value}}},")
    (folder / "pools.yml").write_text(text)
    (line,) = faults(["pools.yml"])
    assert line.startswith("pools.yml:4: ")
    assert line.endswith("is nothing that JSON has; put it in quotes")


def test_a_fault_is_one_line_whatever_it_quotes(folder: Path) -> None:
    text = pool().replace("step: drafter,", 'step: drafter, config: {prompt: "a\\nb"},')
    (folder / "pools.yml").write_text(OTHERS + text)
    (line,) = faults([folder])
    assert "\n" not in line
