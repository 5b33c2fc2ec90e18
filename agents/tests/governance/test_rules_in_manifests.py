"""Faults of rules that only this machine can tell are found by `weft validate`, with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft.cli import checks
from weft_api.errors import ManifestErrors

MANIFEST = """\
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {name: p}
spec:
  source: {generate: {rows: 3}}
  output: {uri: out}
  flow: {entry: say, steps: [{name: say, next: [{to: $accept}]}]}
  governance:
  - {name: mine, action: reject, KIND}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: say}
spec: {pipelineRef: {name: p}, agent: "weft.builtin:EchoAgent"}
"""


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("blocked: {patterns: ['(?=a)']}", "not a regular expression of RE2"),
        ("blocked: {python: 'nowhere_at_all:check'}", "there is no module `nowhere_at_all`"),
        ("pii: {entities: [PERSON], model: en_core_web_xx}", "no spaCy pipeline"),
    ],
)
def test_a_rule_that_cannot_be_made_is_a_fault_with_its_line(
    tmp_path: Path, kind: str, told: str
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(MANIFEST.replace("KIND", kind))
    with pytest.raises(ManifestErrors) as caught:
        checks.check(checks.read([str(path)]))
    (fault,) = map(str, caught.value.errors)
    assert "p.yaml:9: spec.governance[0]: " in fault
    assert told in fault
    assert "\n" not in fault
