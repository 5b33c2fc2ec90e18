"""The pipeline that is attacked, as a user's files: manifests and a source."""

from __future__ import annotations

import json
from pathlib import Path

LEASE = 2.0
"""Seconds. Pauses last longer, so that a process that wakes finds itself given up."""
OUTPUT = "out"
STEPS, REPLICAS, WRITERS = ("draft", "tools", "judge"), 2, 2
PROCESSES = len(STEPS) * REPLICAS + WRITERS + 1
"""Of ours, the command aside: agents, writers and the head."""
_CALM = "calm"

_STEP_POOL = """\
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: {name}}}
spec:
  pipelineRef: {{name: attacked}}
  agent: weft.attack.agents:Trail
  config: {{seconds: {seconds}, calm: "{calm}"}}
  replicas: {replicas}
  concurrency: 24
"""

_PIPELINE = """\
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {{name: attacked}}
spec:
  source: {{dataset: {{uri: rows.jsonl, format: jsonl, idField: id}}}}
  output: {{uri: {output}, commitInterval: 300ms}}
  delivery: {{inFlightRows: 96, lease: {lease}s, maxAttempts: 2, writers: {writers}}}
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


def write(folder: Path, *, rows: int, seconds: float = 0.3) -> None:
    """Manifests and source into the folder. `seconds`: of a hop, on average, until `calm`. What
    is in flight is bounded by rows, so that slow hops leave the CPU to the starts of processes, and
    as much to lose."""
    pools = [
        _STEP_POOL.format(
            name=name, seconds=seconds, calm=folder.resolve() / _CALM, replicas=REPLICAS
        )
        for name in STEPS
    ]
    text = _PIPELINE.format(output=OUTPUT, lease=f"{LEASE:g}", writers=WRITERS) + "".join(pools)
    (folder / "pipeline.yaml").write_text(text)
    with (folder / "rows.jsonl").open("w") as source:
        for number in range(rows):
            row = {"id": row_id(number), "number": number, "text": "word " * (number % 40)}
            source.write(json.dumps(row) + "\n")


def calm(folder: Path) -> None:
    """From here on hops take no time."""
    (folder / _CALM).touch()


def row_id(number: int) -> str:
    return f"row-{number:06}"
