"""The generated YAML: fresh, and of the form that Kubernetes and people expect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from weft_api import generate
from weft_api.base import Model
from weft_api.pipeline import PipelineSpec
from weft_api.pool import ROLLED, PoolSpec
from weft_api.status import PipelineStatus, PoolStatus
from weft_api.words import bare


def models(root: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and all that it is made of."""
    yield root
    for info in root.model_fields.values():
        kind = bare(info.annotation)
        for inner in (kind, *(bare(item) for item in getattr(kind, "__args__", ()))):
            if isinstance(inner, type) and issubclass(inner, Model):
                yield from models(inner)


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a schema."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def test_the_files_fit_the_models() -> None:
    for path, text in generate.files().items():
        assert path.read_text(encoding="utf-8") == text, "run python -m weft_api.generate"


def test_check_says_which_file_is_stale(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    for folder in generate.FOLDERS:
        (tmp_path / folder).mkdir(parents=True)
    assert generate.main(["--check"]) == 1
    told = capsys.readouterr().out
    for folder in generate.FOLDERS:
        assert f"{folder}/weft.dev_agentpools.yaml: does not fit" in told
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "charts/weft/files/crds/weft.dev_agentpools.yaml").write_text("old")
    assert generate.main(["--check"]) == 1


@pytest.mark.parametrize("root", [PipelineSpec, PoolSpec, PipelineStatus, PoolStatus])
def test_every_field_has_a_description_and_an_example(root: type[BaseModel]) -> None:
    for model in models(root):
        for name, info in model.model_fields.items():
            assert info.description, f"{model.__name__}.{name}"
            assert info.examples, f"{model.__name__}.{name}"


@pytest.mark.parametrize("root", [PipelineSpec, PoolSpec])
def test_every_example_is_valid(root: type[BaseModel]) -> None:
    for model in models(root):
        for info in model.model_fields.values():
            adapter: TypeAdapter[Any] = TypeAdapter(info.rebuild_annotation())
            for example in info.examples or []:
                adapter.validate_python(example, by_name=False, by_alias=True)


def test_each_field_of_a_pool_says_whether_it_is_live_or_rolled() -> None:
    fixed = {"pipeline_ref", "step"}
    for name, info in PoolSpec.model_fields.items():
        text = info.description or ""
        if name in fixed:
            assert "cannot change" in text
        else:
            assert text.startswith("Rolled." if name in ROLLED else "Live."), name


def test_the_schema_holds_nothing_that_a_crd_may_not() -> None:
    for crd in generate.crds():
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for node in nodes(schema["properties"]["spec"]):
            assert not {"$ref", "$defs", "title", "const", "allOf", "examples"} & node.keys()
            assert node.get("additionalProperties") is not False
            if "anyOf" in node:
                assert node["x-kubernetes-int-or-string"] is True
            # A number in JSON Schema, a word beside the bound in Kubernetes'.
            for bound in ("Minimum", "Maximum"):
                word = node.get(f"exclusive{bound}", False)
                assert isinstance(word, bool)
                assert word is False or bound.lower() in node


def test_each_rule_has_a_message_that_says_what_to_do() -> None:
    for crd in generate.crds():
        rules = [rule for node in nodes(crd) for rule in node.get("x-kubernetes-validations", [])]
        assert len(rules) > 10
        for rule in rules:
            assert "; " in rule["message"] or rule["message"].startswith("must ")


def test_the_resources_have_short_names_a_category_and_subresources() -> None:
    pipeline, pool = generate.crds()
    assert pipeline["spec"]["names"]["shortNames"] == ["sp"]
    assert pool["spec"]["names"]["shortNames"] == ["ap"]
    for crd in (pipeline, pool):
        assert crd["spec"]["names"]["categories"] == ["weft"]
        assert "status" in crd["spec"]["versions"][0]["subresources"]
    assert pool["spec"]["versions"][0]["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
