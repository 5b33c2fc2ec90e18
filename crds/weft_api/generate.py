"""`python -m weft_api.generate` writes the CRDs next to this package, and the chart's copies of
them (Helm reads no file outside a chart); `--check` only compares."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from weft_api.base import GROUP, VERSION
from weft_api.pipeline import SyntheticPipeline
from weft_api.pool import AgentPool
from weft_api.structural import structural

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("crds", "charts/weft/files/crds")
HEADER = "# Made by `python -m weft_api.generate` from crds/weft_api; change it there.\n"


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; `wide` ones show with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def as_dict(self) -> dict[str, Any]:
        column = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return {**column, "priority": 1} if self.wide else column


READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status')
REASON = Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True)
AGE = Column("Age", ".metadata.creationTimestamp", "date")

PIPELINE_COLUMNS = (
    Column("Phase", ".status.phase"),
    Column("Accepted", ".status.rows.accepted", "integer"),
    Column("Rejected", ".status.rows.rejected", "integer"),
    Column("Dead", ".status.rows.dead", "integer"),
    Column("In flight", ".status.rows.inFlight", "integer"),
    Column("Total", ".status.rows.total", "integer"),
    READY,
    AGE,
    REASON,
    Column("Pools", ".status.pools", wide=True),
    Column("Output", ".spec.output.uri", wide=True),
    Column("Message", ".status.message", wide=True),
)
POOL_COLUMNS = (
    Column("Pipeline", ".spec.pipelineRef.name"),
    Column("Step", ".spec.step"),
    Column("Desired", ".status.desiredReplicas", "integer"),
    Column("Ready", ".status.readyReplicas", "integer"),
    Column("Updated", ".status.updatedReplicas", "integer"),
    Column("GPU", ".spec.gpu.count", "integer"),
    Column("Revision", ".status.updateRevision"),
    AGE,
    REASON,
    Column("Agent", ".spec.agent", wide=True),
    Column("Product", ".spec.gpu.product", wide=True),
    Column("Serving", ".status.currentRevision", wide=True),
)
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def crd(
    model: type[SyntheticPipeline] | type[AgentPool],
    *,
    short: str,
    columns: tuple[Column, ...],
    scale: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The CustomResourceDefinition of a resource model."""
    kind = model.__name__
    singular, plural = kind.lower(), f"{kind.lower()}s"
    schema = structural(model.model_json_schema(by_alias=True))
    properties = schema["properties"]
    # The API server knows these three by itself and takes no schema of metadata.
    properties["apiVersion"] = {"type": "string"}
    properties["kind"] = {"type": "string"}
    properties["metadata"] = {"type": "object"}
    schema["required"] = ["spec"]
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, **({"scale": scale} if scale else {})},
        "additionalPrinterColumns": [column.as_dict() for column in columns],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/name": "weft"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "singular": singular,
                "plural": plural,
                "shortNames": [short],
                "categories": ["weft"],
            },
            "versions": [version],
        },
    }


def crds() -> list[dict[str, Any]]:
    """Both CRDs."""
    return [
        crd(SyntheticPipeline, short="sp", columns=PIPELINE_COLUMNS),
        crd(AgentPool, short="ap", columns=POOL_COLUMNS, scale=SCALE),
    ]


def files() -> dict[Path, str]:
    """Path -> content of the generated files."""
    return {
        ROOT / folder / f"{GROUP}_{item['spec']['names']['plural']}.yaml": HEADER + _yaml(item)
        for item in crds()
        for folder in FOLDERS
    }


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def main(arguments: list[str]) -> int:
    check = arguments == ["--check"]
    if arguments and not check:
        print(f"usage: python -m weft_api.generate [--check]; not {' '.join(arguments)}")
        return 2
    stale = [
        path
        for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        name = path.relative_to(ROOT)
        if check:
            print(f"{name}: does not fit crds/weft_api; run python -m weft_api.generate")
        else:
            path.write_text(files()[path], encoding="utf-8")
            print(f"{name}: written")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
