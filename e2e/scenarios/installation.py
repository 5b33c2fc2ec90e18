"""What the scenarios run on: the cluster, the images of this checkout, and the chart."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from e2e.scenarios.kube import Kube, Object
from e2e.scenarios.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "e2e" / "cluster"
SYSTEM = "weft-system"
"""Namespace of the operator."""
RELEASE = "e2e"

RUN = f"run-{time.time():.0f}"

UP_SECONDS = 3600
IMAGE_SECONDS = 1800
"""Both build everything when they are cold."""


@dataclass(frozen=True)
class Images:
    """Of this checkout: what the nodes have been given."""

    agents: str
    operator: str

    @classmethod
    def build(cls) -> Images:
        """Build them, unless the environment names some that the cluster can pull."""
        return cls(
            agents=os.environ.get("WEFT_E2E_AGENTS_IMAGE") or _built("agents"),
            operator=os.environ.get("WEFT_E2E_OPERATOR_IMAGE") or _built("operator"),
        )


def cluster_up() -> Kube:
    """Bring the cluster up, or use the one that is."""
    printed = _call(CLUSTER / "up", seconds=UP_SECONDS)
    kubeconfig = re.search(r"^export KUBECONFIG=(\S+)$", printed, re.MULTILINE)
    tools = re.search(r"^export PATH=([^:]+):", printed, re.MULTILINE)
    assert kubeconfig, printed
    assert tools, printed
    return Kube(Path(kubeconfig[1]), Path(tools[1]))


def another_tag(image: str, tag: str) -> str:
    """The same image with a label, under another tag: a new release of the agents or the operator,
    whichever the image's name ends in."""
    repository = image.rpartition(":")[0]
    name = f"{repository}:{tag}"
    folder = CLUSTER.parent / "scenarios" / "image"
    words = ["--file", str(folder / "Dockerfile"), "--context", str(folder)]
    words += ["--target", repository.rpartition("/")[2]]
    _call(CLUSTER / "image", name, *words, seconds=IMAGE_SECONDS)
    return name


def cluster_command(name: str, *words: str) -> str:
    """One of `e2e/cluster`'s own commands."""
    return _call(CLUSTER / name, *words, seconds=300)


def install(kube: Kube, images: Images, *settings: str) -> None:
    """The chart as users install it, with the images of this checkout."""
    operator, _, operator_tag = images.operator.rpartition(":")
    agents, _, agents_tag = images.agents.rpartition(":")
    values = [
        f"image.repository={operator}",
        f"image.tag={operator_tag}",
        f"agents.image={agents}",
        f"agents.tag={agents_tag}",
        "agents.pullPolicy=IfNotPresent",
        "resources.requests.cpu=50m",
        # Tags are the same from run to run: an operator that is still there has to start anew.
        f"podAnnotations.run={RUN}",
        *settings,
        *os.environ.get("WEFT_E2E_HELM_SET", "").split(),
    ]
    words = [word for value in values for word in ("--set", value)]
    kube.tool(
        *("helm", "upgrade", "--install", RELEASE, str(ROOT / "charts" / "weft")),
        *(
            "--namespace",
            SYSTEM,
            "--create-namespace",
            "--wait",
            *("--timeout", f"{110 * PATIENCE:.0f}s"),
            *words,
        ),
    )


def leader(kube: Kube) -> str:
    """Name of the operator's pod that leads."""
    system = kube.within(SYSTEM)

    def look() -> str | None:
        leases = [lease["spec"] for lease in system.list("leases")]
        holders = {str(lease.get("holderIdentity") or "") for lease in leases}
        pods = {pod["metadata"]["name"] for pod in operator_pods(kube)}
        return next(iter(holders & pods), None)

    return until("one of the operator's pods holds the lease", look, 60)


def operator_pods(kube: Kube) -> list[Object]:
    pods = kube.within(SYSTEM).list("pods", {"app.kubernetes.io/instance": RELEASE})
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def operator_log(kube: Kube) -> list[Object]:
    """All lines that the operator's pods have logged, as they are (JSON)."""
    lines = []
    for pod in operator_pods(kube):
        text = kube.within(SYSTEM).run("logs", pod["metadata"]["name"])
        lines += [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return lines


def _built(target: str) -> str:
    tag = f"weft.dev/{target}:e2e"
    _call(CLUSTER / "image", tag, "--target", target, seconds=IMAGE_SECONDS)
    return tag


def _call(program: Path, *words: str, seconds: float) -> str:
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, timeout=seconds, check=False
    )
    told = "\n".join(done.stderr.splitlines()[-20:])
    assert done.returncode == 0, f"{program.name} {' '.join(words)} failed:\n{told}"
    return done.stdout
