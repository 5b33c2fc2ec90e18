"""What the scale trial reads off: processes' CPU and memory, and the operator's own metrics."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

OPERATOR: Final = "operator"
LOAD: Final = "load"
OTHERS: Final = {"kube-apiserver": "API server", "etcd": "etcd", "ray-operator": "KubeRay"}
"""By the names of their programs."""
WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Figures:
    """Of one trial. CPU is user and system time in seconds, by process."""

    pipelines: int
    rate: float
    """Created a second; 0: all at once."""
    cores: int
    load_before: float
    created_a_second: float
    seconds_p50: float
    """From a pipeline's creation to that of its RayCluster."""
    seconds_p99: float
    seconds_last: float
    """From the first creation to the last RayCluster."""
    cpu_seconds: Mapping[str, float]
    """Until the last RayCluster."""
    cpu_seconds_to_rest: Mapping[str, float]
    """Until the operator has nothing more to report."""
    requests: Mapping[str, int]
    """The operator's, by method, until then."""
    operator_rss_mib: float
    rest_seconds: float = 0.0
    rest_writes: int = 0
    """The operator's requests that write, while nothing happens."""
    rest_objects_moved: int = 0
    """Pipelines, pools, ConfigMaps and Secrets whose version has changed meanwhile."""

    def in_words(self) -> str:
        how = f"at {self.rate:g}/s" if self.rate else "at once"
        capacity = self.seconds_last * self.cores
        shares = ", ".join(f"{n} {s / capacity:.0%}" for n, s in self.cpu_seconds.items())
        each = ", ".join(
            f"{name} {seconds / self.pipelines * 1000:.1f}"
            for name, seconds in self.cpu_seconds_to_rest.items()
        )
        asked = ", ".join(f"{m} {n / self.pipelines:.2f}" for m, n in self.requests.items())
        return "\n".join(
            (
                f"{self.pipelines} pipelines {how}, created at {self.created_a_second:.0f}/s; "
                f"{self.cores} cores, load before {self.load_before:.1f}",
                f"  to the RayCluster: p50 {self.seconds_p50:.2f} s, p99 {self.seconds_p99:.2f} s; "
                f"the last after {self.seconds_last:.1f} s (targets: p99 2 s at 20/s, the last "
                "30 s at once)",
                f"  CPU until then, of {self.cores} cores: {shares}",
                f"  CPU ms a pipeline, until rest: {each}",
                f"  operator's requests a pipeline, until rest: {asked}",
                f"  operator's memory: {self.operator_rss_mib:.0f} MiB (target 200)",
                f"  at rest for {self.rest_seconds:.0f} s: {self.rest_writes} writes by the "
                f"operator, {self.rest_objects_moved} objects written by anybody (target 0)",
            )
        )


class Meters:
    """Of the operator's process, those beside it that this one has started, and this one."""

    def __init__(self, pid: int, metrics_port: int, load_before: float) -> None:
        self.load_before = load_before
        self._operator = psutil.Process(pid)
        self._url = f"http://127.0.0.1:{metrics_port}/metrics"

    async def ready(self) -> None:
        """Until the operator answers, and has had the time to begin its watches."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                if sum((await self.requests()).values()):
                    await asyncio.sleep(5)
                    return
            await asyncio.sleep(0.2)
        raise TimeoutError("the operator did not start within 60 s")

    def cpu(self) -> dict[str, float]:
        me = psutil.Process()
        found = {OPERATOR: _seconds(self._operator)}
        for child in me.children():
            if child.name() in OTHERS:
                found[OTHERS[child.name()]] = _seconds(child)
        return {**found, LOAD: _seconds(me)}

    def cpu_since(self, before: Mapping[str, float]) -> dict[str, float]:
        return {name: seconds - before[name] for name, seconds in self.cpu().items()}

    def rss_mib(self) -> float:
        """Resident now."""
        return float(self._operator.memory_info().rss / 2**20)

    async def requests(self) -> dict[str, int]:
        """To the API server, by method; watches, which are Kopf's, are not among them."""
        async with aiohttp.ClientSession() as session, session.get(self._url) as answer:
            text = await answer.text()
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "weft_operator_api_requests_total":
                    found[sample.labels["method"]] += int(sample.value)
        return dict(sorted(found.items()))

    async def writes(self) -> int:
        asked = await self.requests()
        return sum(asked.get(method, 0) for method in WRITES)


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def percentile(ordered: Sequence[float], percent: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
