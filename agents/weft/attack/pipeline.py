"""The pipeline that is attacked, as a user's files: manifests and a source."""

from __future__ import annotations

import json
from pathlib import Path

LEASE = 2.0
"""Seconds. Pauses last longer, so that a process that wakes finds itself given up."""
OUTPUT = "out"

_STEP_POOL = """\
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: {name}}}
spec:
  pipelineRef: {{name: attacked}}
  agent: weft.attack.agents:Trail
  config: {{seconds: {seconds}}}
  replicas: 2
  concurrency: 24
"""

_PIPELINE = """\
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {{name: attacked}}
spec:
  source: {{dataset: {{uri: rows.jsonl, format: jsonl, idField: id}}}}
  output: {{uri: {output}, commitInterval: 300ms}}
  delivery: {{inFlightRows: 96, lease: {lease}s, maxAttempts: 2, writers: 2}}
  flow:
    entry: draft
    steps:
    - name: draft
      next: [{{to: tools, when: "row.next == 'tools'"}}, {{to: judge}}]
    - {{name: tools, next: [{{to: draft}}]}}
    - name: judge
      next:
      - {{to: draft, when: "row.next == 'draft'"}}
      - {{to: $reject, when: "row.next == '$reject'"}}
      - {{to: $accept}}
"""


def write(folder: Path, *, rows: int, seconds: float = 0.03) -> None:
    """Manifests and source into the folder. `seconds`: of a hop, on average."""
    pools = [_STEP_POOL.format(name=name, seconds=seconds) for name in ("draft", "tools", "judge")]
    text = _PIPELINE.format(output=OUTPUT, lease=f"{LEASE:g}") + "".join(pools)
    (folder / "pipeline.yaml").write_text(text)
    with (folder / "rows.jsonl").open("w") as source:
        for number in range(rows):
            row = {"id": row_id(number), "number": number, "text": "word " * (number % 40)}
            source.write(json.dumps(row) + "\n")


def row_id(number: int) -> str:
    return f"row-{number:06}"
