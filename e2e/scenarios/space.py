"""A scenario's own namespace: its volume, its pipelines, and what can be asked of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.scenarios.dataset import Dataset
from e2e.scenarios.kube import Kube, Object, Refused
from e2e.scenarios.waiting import TooLate, until

CLAIM = "data"
DATA = "/data"
"""Where the volume is mounted in the head and the writers."""

_ASK = """
import os, urllib.request as http
token = {"Authorization": "Bearer " + os.environ["WEFT_TOKEN"]}
ask = http.Request("http://127.0.0.1:8484/v1/status", headers=token)
print(http.urlopen(ask, timeout=10).read().decode())
"""


@dataclass(frozen=True)
class Space:
    kube: Kube
    folder: Path
    """The volume, as this machine sees it."""

    @property
    def namespace(self) -> str:
        return self.kube.namespace

    def make_volume(self, claim: str = CLAIM) -> None:
        """A volume in a folder of this machine, which both nodes run on, kept for one claim."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o777)  # Pods write as a user that this machine does not know.
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {
                    "name": f"{self.namespace}-{claim}",
                    "labels": {"weft.dev/e2e": self.namespace},
                },
                "spec": {
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteMany"],
                    "storageClassName": "",
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": str(self.folder)},
                    "claimRef": {"namespace": self.namespace, "name": claim},
                },
            }
        )

    def make_claim(self) -> None:
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": CLAIM},
                "spec": {
                    "accessModes": ["ReadWriteMany"],
                    "storageClassName": "",
                    "volumeName": f"{self.namespace}-{CLAIM}",
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            },
        )

    # what there is

    def pipeline(self, name: str) -> Object:
        return self.kube.get("syntheticpipelines.weft.dev", name)

    def status(self, name: str) -> Object:
        status: Object = self.pipeline(name).get("status") or {}
        return status

    def head_status(self, name: str) -> Object:
        """What the head's control API says; empty while it cannot be asked."""
        try:
            head = self.pods(pipeline=name, role="head")[0]["metadata"]["name"]
            said = self.kube.run("exec", head, "-c", "ray", "--", "python", "-c", _ASK)
        except (IndexError, Refused):
            return {}
        status: Object = json.loads(said)
        return status

    def condition(self, kind: str, name: str, condition: str) -> Object:
        """A condition of a resource; empty before it is there."""
        status = self.kube.get(kind, name).get("status") or {}
        found = [c for c in status.get("conditions") or () if c["type"] == condition]
        return found[0] if found else {}

    def pods(self, **labels: str) -> list[Object]:
        """By role, pool, revision (`weft.dev/…` labels), without those on their way out."""
        pods = self.kube.list("pods", {f"weft.dev/{key}": value for key, value in labels.items()})
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, **labels: str) -> list[Object]:
        return [pod for pod in self.pods(**labels) if is_ready(pod)]

    def untouched(self, name: str) -> tuple[int, dict[str, int]]:
        """What changes when somebody touches a pipeline's cluster: the RayCluster's generation;
        uids of its pods, and how often their containers began."""
        pods = {
            pod["metadata"]["uid"]: sum(c["restartCount"] for c in _containers(pod))
            for pod in self.pods(pipeline=name)
        }
        return self.kube.get("raycluster", name)["metadata"]["generation"], pods

    def dataset(self) -> Dataset:
        return Dataset.read(self.folder / "out")

    # what is waited for

    def wait_rows(self, name: str, at_least: int, seconds: float = 180) -> int:
        """Until so many rows are committed, by the table itself."""
        return until(
            f"{at_least} rows of {name} are committed",
            lambda: count if (count := len(self.dataset().rows)) >= at_least else None,
            seconds,
            seen=lambda: f"{len(self.dataset().rows)} rows; {self.in_short(name)}",
        )

    def wait_phase(self, name: str, phase: str, seconds: float = 180) -> Object:
        """Until the pipeline's status has this phase; a final one ends the wait."""

        def look() -> Object | None:
            status = self.status(name)
            now = status.get("phase")
            if now in ("Succeeded", "Failed") and now != phase:
                raise TooLate(f"{name} is {now}, not {phase}: {self.in_short(name)}")
            return status if now == phase else None

        what = f"{self.namespace}/{name} is {phase}"
        return until(what, look, seconds, seen=lambda: self.in_short(name))

    def wait_condition(
        self, kind: str, name: str, condition: str, status: str, reason: str, seconds: float = 60
    ) -> Object:
        def look() -> Object | None:
            found = self.condition(kind, name, condition)
            here = (found.get("status"), found.get("reason"))
            return found if here == (status, reason) else None

        return until(
            f"{kind}/{name} has {condition}={status} ({reason})",
            look,
            seconds,
            seen=lambda: json.dumps(self.condition(kind, name, condition)),
        )

    def in_short(self, name: str) -> str:
        """State of a pipeline in one line, for a wait that was in vain."""
        status = self.status(name)
        pods = ", ".join(
            f"{pod['metadata']['name']} {pod['status'].get('phase')}"
            f"{'' if is_ready(pod) else ' (not ready)'}"
            for pod in self.kube.list("pods")
        )
        rows = status.get("rows")
        return f"{status.get('phase')}: {status.get('message')}; rows {rows}; pods {pods or 'none'}"


def is_ready(pod: Object) -> bool:
    conditions: list[dict[str, Any]] = pod["status"].get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _containers(pod: Object) -> list[Object]:
    statuses: list[Object] = pod["status"].get("containerStatuses") or []
    return statuses
