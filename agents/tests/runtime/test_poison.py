"""Rows that kill, starve or hang whoever handles them: the rest goes on, and they end as dead
letters that hold the row, the error and the path."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from weft.runtime.local import LocalRun
from weft.runtime.status import Status
from weft_api.load import load

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

AGENTS = '''
import asyncio, os, resource, signal, time
from weft import Agent, ChatMessage

SPARE = 2 << 30

class Careful(Agent):
    """The step before: what it did must be in the dead letters."""
    async def handle(self, row, ctx):
        row.messages.append(ChatMessage("user", f"please handle {row.id}"))

class Poisoned(Agent):
    produces = frozenset({"large"})

    async def start(self):
        with open("/proc/self/statm") as statm:
            size = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + SPARE, size + SPARE))

    async def handle(self, row, ctx):
        does = row["does"]
        if does == "exits":
            os._exit(3)
        if does == "exits after a while":
            await asyncio.sleep(0.5)
            os._exit(3)
        if does == "is killed for its memory":
            os.kill(os.getpid(), signal.SIGKILL)
        if does == "asks for too much memory":
            hoard = bytearray(SPARE * 2)
        if does == "hangs":
            await asyncio.sleep(1e6)
        if does == "hangs and lets nobody else":
            time.sleep(1e6)
        if does == "grows by 100 MB":
            row["large"] = "x" * 100_000_000
        await asyncio.sleep(0.2)
        row.messages.append(ChatMessage("assistant", "done"))
'''

PIPELINE = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {name: poisoned}
spec:
  source: {dataset: {uri: rows.jsonl, idField: id}}
  output: {uri: ./out, commitInterval: 300ms}
  delivery: {inFlightRows: 60, lease: 3s, handlerTimeout: 5s, maxAttempts: 2}
  flow:
    entry: careful
    steps:
    - {name: careful, next: [{to: poisoned}]}
    - {name: poisoned, next: [{to: $accept}]}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: careful}
spec: {pipelineRef: {name: poisoned}, agent: "poison_agents:Careful"}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: poisoned}
spec: {pipelineRef: {name: poisoned}, agent: "poison_agents:Poisoned", replicas: 2, concurrency: 8}
"""

DIED = "processes died with this row in their hands, the last in step poisoned"
DEAD = {
    "exits": DIED,
    "exits after a while": DIED,
    "is killed for its memory": DIED,
    "asks for too much memory": "step poisoned: MemoryError",
    "hangs": "not done after 5 s",
    "hangs and lets nobody else": DIED,
}
GOOD = 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "poison_agents.py").write_text(AGENTS)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    rows = [{"id": f"good-{number}", "does": "well"} for number in range(GOOD)]
    for place, does in enumerate([*DEAD, "grows by 100 MB"]):
        rows.insert(20 * place, {"id": does, "does": does})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_rows_that_kill_hang_or_hoard_end_dead_and_the_rest_goes_on(folder: Path) -> None:
    plan = load([folder / "pipeline.yaml"]).compile()
    with LocalRun(plan, import_from=[folder]) as run:
        status = wait_for_end(run, 300)
    assert status.phase == "Succeeded", status
    rows = {row["id"]: row for row in stored(folder / "out")}
    assert len(rows) == GOOD + len(DEAD) + 1
    innocents = [row for row in rows.values() if row["id"] not in DEAD]
    assert {row["id"]: row["reason"] for row in innocents if row["status"] != "accepted"} == {}
    assert rows["grows by 100 MB"]["data"]["large"] == "x" * 100_000_000
    for name, reason in DEAD.items():
        row = rows[name]
        assert row["status"] == "dead"
        assert reason in row["reason"]
        assert [message["content"] for message in row["messages"]] == [f"please handle {name}"]
        assert [hop["step"] for hop in row["provenance"]][:1] == ["careful"]


def stored(output: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = DeltaTable(output).to_pyarrow_table().to_pylist()
    assert Counter(Counter(row["id"] for row in rows).values()).keys() == {1}
    for row in rows:
        row["data"] = json.loads(row["data"])
    return rows


def wait_for_end(run: LocalRun, seconds: float) -> Status:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = run.status()
        if status is not None and status.finished:
            return status
        time.sleep(0.2)
    raise AssertionError(f"no end in sight: {status}")
