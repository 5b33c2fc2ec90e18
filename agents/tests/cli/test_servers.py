"""MCP servers that cannot be started, told before the run in lines that name the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft.cli.prepare import Wishes, prepare
from weft_api.errors import ManifestErrors

MANIFEST = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {name: shop}
spec:
  source: {generate: {rows: 1}}
  output: {uri: out}
  flow:
    entry: tools
    steps:
    - {name: tools, next: [{to: $accept}]}
  tools:
  - name: shop
    mcp:
      command: [no-such-server]
      env: [{name: KEY, secretRef: {name: shop, key: token}}]
  - name: weather
    mcp:
      url: http://127.0.0.1:1/mcp
      headers: [{name: Authorization, secretRef: {name: weather, key: token}}]
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: tools}
spec: {pipelineRef: {name: shop}, agent: weft.builtin:ToolAgent}
"""


def test_missing_secrets_and_programs_are_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.yaml").write_text(MANIFEST)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEATHER_TOKEN", "s3cret")
    with pytest.raises(ManifestErrors) as refused:
        prepare(("shop.yaml",), None, Wishes())
    where = "shop.yaml:16: spec.tools[0].mcp.env[0].secretRef"
    assert [str(fault) for fault in refused.value.errors] == [
        "shop.yaml:15: spec.tools[0].mcp.command: there is no program `no-such-server` on the "
        "PATH; install it, or write where it is",
        f"{where}: the environment variable SHOP_TOKEN is not set; export SHOP_TOKEN=…",
    ]
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("SHOP_TOKEN", "s3cret")
    with pytest.raises(ManifestErrors) as refused:
        prepare(("shop.yaml",), None, Wishes())
    assert len(refused.value.errors) == 1
