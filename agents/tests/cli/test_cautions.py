"""What is allowed but may not do what is meant is told, and stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Weft

from weft.reply_length import longest_reply, may_be_cut

PIPELINE = """\
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {name: p}
spec:
  source: {generate: {rows: 1}}
  output: {uri: out}
  flow:
    entry: check
    steps:
    - {name: check, next: [{to: label}]}
    - {name: label, next: [{to: $accept}]}
  prompts:
  - {name: judge, text: Judge it.}
  - {name: label, text: Label it.}
"""
POOLS = """\
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: check}
spec:
  pipelineRef: {name: p}
  agent: weft.builtin:ValidatorAgent
  config:
    prompt: judge
    JUDGE
  engine: {simulator: {}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: label}
spec:
  pipelineRef: {name: p}
  agent: weft.builtin:MetadataAgent
  config:
    prompt: label
    labels: {mood: [calm, exceptionally worried]}
    LABEL
  engine: {simulator: {}}
"""


def written(folder: Path, judge: str, label: str) -> Path:
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "pools.yaml").write_text(POOLS.replace("JUDGE", judge).replace("LABEL", label))
    return folder


def test_a_limit_that_may_cut_a_reply_is_told_with_the_one_that_cannot(
    weft: Weft, tmp_path: Path
) -> None:
    result = weft("validate", written(tmp_path, "maxTokens: 40", "maxTokens: 5"))
    assert result.code == 0
    assert result.out.startswith("ok: ")
    judge, label = result.lines
    assert judge.startswith(f"caution: {tmp_path}/pools.yaml:9: spec.config.maxTokens: 40 tokens ")
    assert "may cut the reply, which can have " in judge
    assert "; leave it out, or give " in judge
    assert ":21: spec.config.maxTokens: 5 tokens " in label


@pytest.mark.parametrize(("judge", "label"), [("", ""), ("maxTokens: 400", "maxTokens: 200")])
def test_limits_that_are_left_out_or_ample_are_not_worth_a_word(
    weft: Weft, tmp_path: Path, judge: str, label: str
) -> None:
    assert weft("validate", written(tmp_path, judge, label)).lines == []


def test_the_limit_that_is_proposed_is_not_cautioned_against() -> None:
    schema = {"type": "string", "maxLength": 500}
    told = may_be_cut(100, schema)
    assert may_be_cut(int(told.rsplit(" ", 1)[1]), schema) == ""
    assert int(told.rsplit(" ", 1)[1]) > (longest_reply(schema) or 0)
    assert may_be_cut(1, {"type": "string"}) == ""
