"""The cluster as a person meets it: through kubectl."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.scenarios.waiting import PATIENCE

Object = dict[str, Any]

CALL_SECONDS = 120.0 * PATIENCE


class Refused(Exception):
    """kubectl said no; the text is what it printed."""


@dataclass(frozen=True)
class Kube:
    """Runs kubectl against one cluster; `namespace` "" is that of the kubeconfig."""

    kubeconfig: Path
    tools: Path
    """Folder of kubectl and helm."""
    namespace: str = ""

    def within(self, namespace: str) -> Kube:
        return Kube(self.kubeconfig, self.tools, namespace)

    def environment(self) -> dict[str, str]:
        path = f"{self.tools}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def run(self, *words: str, stdin: str | None = None) -> str:
        """What kubectl prints. Raises `Refused`."""
        where = ["-n", self.namespace] if self.namespace else []
        return self.tool("kubectl", *where, *words, stdin=stdin)

    def tool(self, program: str, *words: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [self.tools / program, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            env=self.environment(),
            check=False,
        )
        if done.returncode != 0:
            raise Refused(f"{program} {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *objects: Object) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.run("apply", "-f", "-", stdin=json.dumps(items))

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self.run("get", kind, name, "-o", "json"))
        return found

    def find(self, kind: str, name: str) -> Object | None:
        """None where there is none."""
        text = self.run("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else None

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        chosen = ["-l", selector] if selector else []
        items: list[Object] = json.loads(self.run("get", kind, *chosen, "-o", "json"))["items"]
        return items

    def merge(self, kind: str, name: str, change: Mapping[str, Any], *more: str) -> None:
        self.run("patch", kind, name, "--type=merge", "-p", json.dumps(change), *more)

    def delete(self, kind: str, name: str, *more: str) -> None:
        self.run("delete", kind, name, "--ignore-not-found", *more)
