"""The pipelines that are measured, as the same manifests that a user writes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from weft_api.base import API_VERSION
from weft_api.parse import parse_pipeline, parse_pool
from weft_api.plan import Plan, compile_plan

HOPS = 8
ECHOES = ("first", "second", "third", "fourth")


def echo_plan(
    output: Path, *, rows: int, in_flight: int, chars: int = 1024, concurrency: int = 64
) -> Plan:
    """Four pools of zero-latency agents in a ring; a row goes twice round and makes 8 hops. The
    last pool's edges have a condition."""
    steps: list[dict[str, Any]] = [
        {"name": name, "next": [{"to": after}]} for name, after in pairwise(ECHOES)
    ]
    steps.append(
        {
            "name": ECHOES[-1],
            "next": [{"to": "$accept", "when": "row.done"}, {"to": ECHOES[0]}],
        }
    )
    pool = {
        "agent": "weft.builtin:EchoAgent",
        "config": {"chars": chars, "spread": 0.2, "maxTurns": HOPS},
        "concurrency": concurrency,
    }
    return make_plan(
        "bench",
        output,
        rows=rows,
        in_flight=in_flight,
        steps=steps,
        pools=dict.fromkeys(ECHOES, pool),
    )


def make_plan(
    name: str,
    output: Path,
    *,
    rows: int,
    in_flight: int,
    steps: list[dict[str, Any]],
    pools: Mapping[str, Mapping[str, Any]],
    commit_interval: str = "1s",
    source: Mapping[str, Any] | None = None,
) -> Plan:
    """A pipeline over `rows` numbered rows (or over `source`), entered at the first step."""
    pipeline = parse_pipeline(
        {
            "apiVersion": API_VERSION,
            "kind": "SyntheticPipeline",
            "metadata": {"name": name},
            "spec": {
                "source": source or {"generate": {"rows": rows}},
                "output": {"uri": str(output), "commitInterval": commit_interval},
                "delivery": {"inFlightRows": in_flight},
                "flow": {"entry": steps[0]["name"], "maxHops": 64, "steps": steps},
            },
        }
    )
    parsed = [
        parse_pool(
            {
                "apiVersion": API_VERSION,
                "kind": "AgentPool",
                "metadata": {"name": pool},
                "spec": {"pipelineRef": {"name": name}, **spec},
            }
        )
        for pool, spec in pools.items()
    ]
    return compile_plan(pipeline, parsed)
