"""The head as a process of its own, without Ray."""

from __future__ import annotations

import asyncio
from pathlib import Path

from weft.runtime.head import HeadProcess
from weft.runtime.process import Place
from weft_api.load import load

PIPELINE = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {name: quiet}
spec:
  source: {generate: {rows: 5}}
  output: {uri: ./out}
  flow: {entry: only, steps: [{name: only, next: [{to: $accept}]}]}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: only}
spec: {pipelineRef: {name: quiet}, agent: "weft.builtin:MetadataAgent"}
"""


async def test_a_head_that_waited_for_members_of_another_and_found_none_issues_rows(
    tmp_path: Path,
) -> None:
    # On a cluster no head knows whether it is the first.
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    plan = load([tmp_path / "pipeline.yaml"]).compile()
    head = HeadProcess(Place("head", "quiet", "token"), plan, grace=0.2)
    life = asyncio.create_task(head.run())
    try:
        async with asyncio.timeout(20):
            while head.status().rows.in_flight < 5:
                await asyncio.sleep(0.05)
    finally:
        head.stop()
        await life
