"""Ctrl-C and SIGTERM: the first drains, the second stops at once, and no row is lost or doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pyarrow.dataset as arrow
import pytest
from conftest import weft_process
from deltalake import DeltaTable

from weft.runtime.status import Status

ROWS = 240
MANIFESTS = f"""\
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {{name: slow}}
spec:
  source: {{generate: {{rows: {ROWS}}}}}
  output: {{uri: out, commitInterval: 300ms}}
  delivery: {{inFlightRows: 60}}
  flow:
    entry: draft
    steps:
    - {{name: draft, next: [{{to: $accept}}]}}
  prompts: [{{name: draft, text: "Write about {{{{ row.index }}}}."}}]
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: draft}}
spec:
  pipelineRef: {{name: slow}}
  agent: weft.builtin:ChatAgent
  engine: {{simulator: {{slots: 20, latency: {{median: 1200ms, sigma: 0.3}}}}}}
"""


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Iterator[Status]]]:
    """`weft run --json` in a process group of its own, and its statuses as they come."""
    command = [sys.executable, "-c", "from weft.cli import main; main()", "run", str(folder)]
    with subprocess.Popen(
        [*command, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        yield process, (msgspec.json.decode(line, type=Status) for line in process.stdout)


def wait_for(statuses: Iterator[Status], accepted: int) -> Status:
    for status in statuses:
        if status.rows.accepted >= accepted and status.phase == "Running":
            return status
    raise AssertionError("the run ended before it should")


def last(statuses: Iterator[Status]) -> Status:
    *_, final = statuses
    return final


def committed(folder: Path) -> Counter[int]:
    """How often each row is in the output."""
    data = DeltaTable(str(folder / "out")).to_pyarrow_dataset()
    kept = data.to_table(columns=["row"], filter=arrow.field("status") == "accepted")
    return Counter(kept["row"].to_pylist())


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_interrupted_twice_and_run_again_makes_every_row_once(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(MANIFESTS)

    with running(tmp_path) as (process, statuses):
        before = wait_for(statuses, accepted=10)
        process.send_signal(signal.SIGINT)
        final = last(statuses)
        assert process.wait() == 128 + signal.SIGINT
    assert final.rows.in_flight == 0
    drained = committed(tmp_path)
    assert len(drained) == final.rows.accepted
    # All that was under way has ended, and little else.
    assert len(drained) >= before.rows.accepted + before.rows.in_flight
    assert len(drained) < ROWS

    with running(tmp_path) as (process, statuses):
        assert wait_for(statuses, accepted=len(drained) + 10).rows.resumed == len(drained)
        process.send_signal(signal.SIGTERM)
        assert next(status for status in statuses if status.phase == "Draining").rows.in_flight
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert last(statuses).rows.in_flight > 0
        assert process.wait() == 128 + signal.SIGTERM
        assert time.monotonic() - asked < 30
    stopped = committed(tmp_path)
    assert len(drained) < len(stopped) < ROWS

    result = weft_process("run", tmp_path, "--plain", timeout=150)
    assert (result.code, result.err) == (0, "")
    assert f"{len(stopped)} rows were done before" in result.out
    assert f"{ROWS} accepted + 0 rejected + 0 dead = {ROWS} of {ROWS} source rows" in result.out
    assert committed(tmp_path) == Counter(dict.fromkeys(range(ROWS), 1))
