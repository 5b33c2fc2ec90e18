"""What is kept of a scenario that failed."""

from __future__ import annotations

from pathlib import Path

from e2e.scenarios.installation import SYSTEM, operator_pods
from e2e.scenarios.kube import Refused
from e2e.scenarios.space import Space

LINES = "--tail=400"


def collect(space: Space, folder: Path) -> None:
    """Objects, events and logs of the namespace, and what the operator said."""
    folder.mkdir(parents=True, exist_ok=True)
    kube, system = space.kube, space.kube.within(SYSTEM)

    def keep(name: str, *words: str, of_operator: bool = False) -> None:
        try:
            text = (system if of_operator else kube).run(*words)
        except Refused as refused:
            text = str(refused)
        (folder / name).write_text(text)

    keep("objects.yaml", "get", "sp,ap,raycluster,pods,pvc,configmap", "-o", "yaml")
    keep("overview.txt", "get", "sp,ap,raycluster,pods", "-o", "wide")
    keep("events.txt", "get", "events", "--sort-by=.lastTimestamp")
    for pod in kube.list("pods"):
        name = pod["metadata"]["name"]
        keep(f"{name}.log", "logs", name, "--all-containers", LINES)
        keep(f"{name}.previous.log", "logs", name, "-c", "ray", "--previous", LINES)
    for pod in operator_pods(kube):
        name = pod["metadata"]["name"]
        keep(f"{name}.log", "logs", name, LINES, of_operator=True)
