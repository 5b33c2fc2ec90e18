"""Pipelines of the scenarios: small requests, few rows, as slow as is needed to interfere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from e2e.scenarios.kube import Object
from e2e.scenarios.space import CLAIM, DATA

API = "weft.dev/v1alpha1"
SMALL = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}
GPU = {"product": "NVIDIA-H100-80GB-HBM3"}


def write_source(folder: Path, rows: int) -> list[str]:
    """`rows.jsonl` in the volume; the ids of its rows."""
    ids = [f"row-{number:04}" for number in range(rows)]
    lines = [json.dumps({"id": name, "topic": f"question {name}"}) + "\n" for name in ids]
    (folder / "rows.jsonl").write_text("".join(lines))
    return ids


def pipeline(name: str = "talk", **spec: Any) -> Object:
    """One step, `drafter`, from the volume and to the volume."""
    return {
        "apiVersion": API,
        "kind": "SyntheticPipeline",
        "metadata": {"name": name},
        "spec": {
            "source": {"dataset": {"uri": f"{DATA}/rows.jsonl", "idField": "id"}},
            "output": {"uri": f"{DATA}/out", "commitInterval": "1s"},
            "flow": {
                "entry": "drafter",
                "steps": [{"name": "drafter", "next": [{"to": "$accept"}]}],
            },
            "prompts": [{"name": "draft", "text": "Write about {{ row.topic }}."}],
            "delivery": {"inFlightRows": 32, "lease": "5s"},
            "ray": {"head": with_volume()},
            **spec,
        },
    }


def pool(pipeline: str = "talk", *, rows_per_second: float = 4, **spec: Any) -> Object:
    """An agent of the simulator that lets through so many rows a second, on a GPU node."""
    concurrency = 8
    return {
        "apiVersion": API,
        "kind": "AgentPool",
        "metadata": {"name": "drafter"},
        "spec": {
            "pipelineRef": {"name": pipeline},
            "agent": "weft.builtin:ChatAgent",
            "config": {"prompt": "draft", "maxTokens": 40},
            "concurrency": concurrency,
            "engine": {
                "simulator": {
                    "slots": concurrency,
                    "latency": {"median": f"{concurrency / rows_per_second * 1000:.0f}ms"},
                }
            },
            "gpu": GPU,
            "resources": SMALL,
            **spec,
        },
    }


def with_volume(**fields: Any) -> Object:
    """Pod fields of head and writers: the volume, and little CPU."""
    container = {"name": "ray", "volumeMounts": [{"name": "data", "mountPath": DATA}]}
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}
    return {
        "resources": SMALL,
        "podTemplate": {"spec": {"containers": [container], "volumes": [volume]}},
        **fields,
    }
