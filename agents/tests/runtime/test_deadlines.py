"""Priorities and deadlines order the work wherever it waits, on an embedded Ray under load."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from deltalake import DeltaTable

from weft.runtime.local import LocalRun
from weft.runtime.status import Status
from weft_api.load import load

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

MANIFESTS = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {{name: urgent}}
spec:
  source: {{generate: {{rows: {rows}}}, {source}}}
  output: {{uri: ./out, commitInterval: 200ms}}
  delivery: {{inFlightRows: 200}}
  prompts: [{{name: ask, text: "Number {{{{ row.index }}}}?"}}]
  flow:
    entry: draft
    steps:
    - {{name: draft, next: [{{to: judge}}]}}
    - {{name: judge, next: [{{to: $accept}}]}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: draft}}
spec:
  pipelineRef: {{name: urgent}}
  agent: "weft.builtin:ChatAgent"
  config: {{prompt: ask}}
  concurrency: {concurrency}
  engine: {{simulator: {{slots: 4, latency: {{median: 20ms, sigma: 0.5}}}}}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: judge}}
spec:
  pipelineRef: {{name: urgent}}
  agent: "weft.builtin:ChatAgent"
  config: {{prompt: ask}}
  concurrency: {concurrency}
  engine: {{simulator: {{slots: 4, latency: {{median: 20ms, sigma: 0.5}}}}}}
"""
URGENT = "row.index % 10 == 3"
BY_DEADLINE = f"deadline: \"{URGENT} ? duration('30s') : duration('10m')\""
BY_PRIORITY = f'priority: "{URGENT} ? 10 : 0", deadline: "duration(\'10m\')"'


@pytest.fixture(autouse=True)
def own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.mark.parametrize("concurrency", [8, 200], ids=["inbox", "engine"])
@pytest.mark.parametrize("source", [BY_DEADLINE, BY_PRIORITY], ids=["deadline", "priority"])
def test_urgent_rows_overtake_in_the_inbox_and_in_front_of_the_engine(
    tmp_path: Path, source: str, concurrency: int
) -> None:
    """One in ten is urgent. With a concurrency of 200 all rows wait for the engine's four slots,
    and the inbox is empty."""
    _, rows = _run(tmp_path, rows=800, source=source, concurrency=concurrency)
    assert len(rows) == 800
    rows["urgent"] = rows["index"] % 10 == 3
    budget = (rows["urgent"] & ("priority" not in source)).map({True: 30.0, False: 600.0})
    rows["took"] = rows["ended"] - (rows["at"] - budget)
    # The first 200 wait for the agents to start, and the last ones meet no load any more.
    loaded = rows[rows["index"].between(200, 599)]
    for urgent, some in loaded.groupby("urgent"):
        quantiles = some["took"].quantile([0.5, 0.99])
        kind = "urgent" if urgent else "others"
        print(f"{kind}: p50 {quantiles[0.5]:.3f} s, p99 {quantiles[0.99]:.3f} s to the last hop")
    urgent = loaded[loaded["urgent"]]["took"]
    others = loaded[~loaded["urgent"]]["took"]
    # Not only on average: the slowest of the urgent rows is before half of the others.
    assert urgent.max() < others.median()
    assert rows["met"].all()


def test_late_rows_go_on_to_their_end_and_their_records_say_that_they_were_late(
    tmp_path: Path,
) -> None:
    source = f"deadline: \"{URGENT} ? duration('1ms') : null\""
    status, rows = _run(tmp_path, rows=60, source=source, concurrency=8)
    assert status.rows.accepted == 60
    urgent = rows["index"] % 10 == 3
    assert (rows["met"] == False)[urgent].all()  # noqa: E712 - a column of True, False and None
    assert rows["met"].isna()[~urgent].all()
    assert (rows["hops"] == 2).all()


def test_late_rows_are_rejected_before_their_next_hop_is_begun(tmp_path: Path) -> None:
    source = f"deadline: \"{URGENT} ? duration('1ms') : duration('10m')\", onLate: Reject"
    status, rows = _run(tmp_path, rows=60, source=source, concurrency=8)
    assert (status.phase, status.rows.accepted, status.rows.rejected) == ("Succeeded", 54, 6)
    late = rows[rows["index"] % 10 == 3]
    assert (late["status"] == "rejected").all()
    told = r"step (draft|judge): late: the deadline had passed \d+\.\d+ s before .*"
    assert late["reason"].str.fullmatch(told).all()
    assert (late["met"] == False).all()  # noqa: E712
    # No model was asked once the row was late: at most the hop that it was late in.
    assert (late["asked"] <= 1).all()
    assert (rows[rows["status"] == "accepted"]["met"] == True).all()  # noqa: E712


def _run(folder: Path, **settings: Any) -> tuple[Status, pd.DataFrame]:
    """The status at the end, and of each row when its last hop ended, and its deadline."""
    (folder / "pipeline.yaml").write_text(MANIFESTS.format(**settings))
    with LocalRun(load([folder]).compile()) as run:
        give_up = time.monotonic() + 150
        while True:
            status = run.status()  # Asking is what finds out that it is over.
            if run.over:
                break
            assert time.monotonic() < give_up, f"no end in sight: {status}"
            time.sleep(0.1)
    assert status is not None
    rows = DeltaTable(folder / "out").to_pyarrow_table().to_pylist()
    return status, pd.DataFrame(
        {
            "index": int(row["id"]),
            "status": row["status"],
            "reason": row["reason"],
            "ended": max(hop["started"] + hop["seconds"] for hop in row["provenance"]),
            "hops": len(row["provenance"]),
            "asked": sum(len(hop["models"]) for hop in row["provenance"]),
            "at": row["deadline"]["at"].timestamp() if row["deadline"] else None,
            "met": row["deadline"]["met"] if row["deadline"] else None,
        }
        for row in rows
    )
