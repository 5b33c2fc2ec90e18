"""How long a change takes to reach the rows, leg by leg."""

from __future__ import annotations

import json
import statistics
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.scenarios.dataset import Dataset
from e2e.scenarios.space import Space

_WATCH = """
import json, os, time, urllib.request as http
token = {"Authorization": "Bearer " + os.environ["WEFT_TOKEN"]}
end = time.time() + 600
while time.time() < end:
    ask = http.Request("http://127.0.0.1:8484/v1/status", headers=token)
    said = json.load(http.urlopen(ask, timeout=10))
    agents = [i["plan"] for pool in said["pools"] for i in pool["instances"]]
    print(json.dumps([time.time(), min(agents, default=0), said["rows"]["inFlight"]]), flush=True)
    time.sleep(0.1)
"""

Times = Mapping[int, float]
"""Unix times by the generation of the plan."""


@dataclass(frozen=True)
class Applied:
    """A change, as the one who makes it sees it."""

    began: float
    """Unix time before `kubectl apply`, and …"""
    returned: float
    """… after it."""


class AgentsWatch:
    """Asks the head, from within its pod and all the time, by which plan all agents run."""

    def __init__(self, space: Space, name: str) -> None:
        head = space.pods(pipeline=name, role="head")[0]["metadata"]["name"]
        kube = space.kube
        words = ("exec", head, "-c", "ray", "--", "python", "-c", _WATCH)
        self._asking = subprocess.Popen(
            [kube.tools / "kubectl", "-n", kube.namespace, *words],
            env=kube.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._thread = threading.Thread(target=self._read)
        self.reached: dict[int, float] = {}
        """When the last agent was first seen to run by a generation, or by a later one."""
        self.on_their_way: list[int] = []

    def __enter__(self) -> AgentsWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._asking.kill()
        self._asking.wait()
        self._thread.join()

    def _read(self) -> None:
        assert self._asking.stdout is not None
        newest = 0
        for line in self._asking.stdout:
            at, generation, on_their_way = json.loads(line)
            self.on_their_way.append(on_their_way)
            for each in range(newest + 1, generation + 1):
                self.reached[each] = at
            newest = max(newest, generation)


def plans_of(output: Path) -> dict[int, tuple[float, dict[str, Any]]]:
    """The plans that the head has taken, by generation: when, and what they say. It keeps each
    beside the output, and hands it out then."""
    found = {}
    for file in (output / "_weft" / "plans").glob("*.json"):
        found[int(file.stem)] = (file.stat().st_mtime, json.loads(file.read_text()))
    return found


def first_hops(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """The first hop of each row, in the order in which the rows were issued."""
    for row in sorted(dataset.rows, key=lambda row: row["row"]):
        yield min(row["provenance"], key=lambda hop: hop["hop"])


def table_of(
    changes: Mapping[int, Applied], taken: Times, reached: Times, dataset: Dataset
) -> list[str]:
    """Lines for people: seconds of each leg over all changes."""
    begun: dict[int, float] = {}
    ended: dict[int, float] = {}
    for hop in first_hops(dataset):
        plan = hop["plan"]
        begun[plan] = min(hop["started"], begun.get(plan, hop["started"]))
        end = hop["started"] + hop["seconds"]
        ended[plan] = min(end, ended.get(plan, end))
    committed: dict[int, float] = {}
    for row in dataset.rows:
        plan, at = row["provenance"][0]["plan"], row["committed"].timestamp()
        committed[plan] = min(at, committed.get(plan, at))
    began = {number: change.began for number, change in changes.items()}
    returned = {number: change.returned for number, change in changes.items()}
    legs = [
        ("kubectl apply itself", began, returned),
        ("apply begun -> the head has taken it", began, taken),
        ("  -> every agent runs by it", taken, reached),
        ("  -> first model call by it", taken, begun),
        ("apply begun -> first model call", began, begun),
        ("  the call itself", begun, ended),
        ("apply begun -> first row committed", began, committed),
    ]
    lines = [f"{'seconds, over ' + str(len(changes)) + ' changes':42}    p50    p99"]
    for name, since, until in legs:
        took = sorted(until[number] - since[number] for number in changes)
        lines.append(f"{name:42} {statistics.median(took):6.2f} {_p99(took):6.2f}")
    return lines


def _p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100, method="inclusive")[98]
