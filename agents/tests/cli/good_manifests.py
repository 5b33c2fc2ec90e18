"""Manifests without a fault, which the cases of bad input spoil in one place each."""

from __future__ import annotations

import json
from pathlib import Path

PIPELINE = """\
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata:
  name: answers
spec:
  source:
    dataset:
      uri: rows.jsonl
      idField: id
  output:
    uri: out
  flow:
    entry: draft
    maxHops: 16
    steps:
    - name: draft
      next:
      - {to: judge}
    - name: judge
      next:
      - {to: draft, when: "row.verdict == 'revise'"}
      - {to: $reject, when: "row.verdict == 'reject'"}
      - {to: $accept}
  prompts:
  - name: ask
    text: "Answer this: {{ row.question }}"
  tools:
  - name: add
    description: Adds two numbers.
    python: answers_tools:add
"""

POOLS = """\
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata:
  name: draft
spec:
  pipelineRef: {name: answers}
  agent: weft.builtin:ChatAgent
  config:
    prompt: ask
    tools: []
  engine:
    simulator: {latency: {median: 5ms}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata:
  name: judge
spec:
  pipelineRef: {name: answers}
  agent: weft.builtin:ValidatorAgent
  config:
    checks:
    - length: {min: 1}
  replicas: 1
"""


def rows(count: int) -> str:
    """JSON Lines with the columns `id` and `question`."""
    return "".join(
        json.dumps({"id": f"q{n}", "question": f"What is {n} + {n}?"}) + "\n" for n in range(count)
    )


def write(folder: Path) -> None:
    """Good manifests and a good source."""
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "pools.yaml").write_text(POOLS)
    (folder / "rows.jsonl").write_text(rows(3))
    (folder / "answers_tools.py").write_text("def add(a: float, b: float): return a + b\n")
