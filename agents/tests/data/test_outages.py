"""What a run stands on goes away for a while: the endpoint, the disk, the object store. The run
waits, says what for, and then ends with every row once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deltalake import DeltaTable
from s3_gateway import gateway, program
from throttling_proxy import proxy

from weft.data.storage import delta_options
from weft.runtime.local import LocalRun
from weft.runtime.status import Status
from weft_api.load import load

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

AWAY = float(os.environ.get("WEFT_OUTAGE", "8"))
"""Seconds of an outage; `docs/reliability.md` has runs of a minute."""
ROWS = 240

PIPELINE = """\
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {{name: outlasts}}
spec:
  source: {{generate: {{rows: {rows}}}}}
  output: {{uri: {uri}, commitInterval: 300ms}}
  delivery: {{inFlightRows: 40, writers: 2}}
  flow:
    entry: draft
    steps: [{{name: draft, next: [{{to: $accept}}]}}]
  prompts: [{{name: draft, text: "Write about {{{{ row.index }}}}."}}]
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: draft}}
spec:
  pipelineRef: {{name: outlasts}}
  agent: weft.builtin:ChatAgent
  concurrency: 16
  engine: {engine}
"""
SIMULATOR = "{simulator: {slots: 16, latency: {median: 200ms, sigma: 0.3}}}"


def run_through(
    folder: Path,
    uri: str,
    engine: str,
    *,
    down: Callable[[], object],
    up: Callable[[], object],
    options: dict[str, str] | None = None,
) -> tuple[list[str], Status]:
    """Run, with an outage of `AWAY` seconds once the first rows are committed; what the status said
    was in the way meanwhile, and the last one."""
    (folder / "pipeline.yaml").write_text(PIPELINE.format(rows=ROWS, uri=uri, engine=engine))
    plan = load([folder / "pipeline.yaml"]).compile()
    told: list[str] = []
    began = ended = 0.0
    before = 0
    deadline = time.monotonic() + 200 + 2 * AWAY
    with LocalRun(plan) as run:
        while time.monotonic() < deadline:
            status = run.status()
            now = time.monotonic()
            if status is None:
                continue
            done = status.rows.accepted + status.rows.rejected + status.rows.dead
            if not began and done >= 20:
                down()
                began = now
            elif began and not ended:
                told.append(status.message)
                if now - began > AWAY:
                    before = done
                    up()
                    ended = now
            if status.finished:
                break
            time.sleep(0.1)
    assert ended, "the run was over before the outage"
    assert status.finished, f"no end in sight: {status}"
    assert before < ROWS
    assert (status.phase, status.rows.accepted) == ("Succeeded", ROWS), status
    table = DeltaTable(uri, storage_options=delta_options(uri, options or {}))
    rows = table.to_pyarrow_table(columns=["row"])["row"].to_pylist()
    assert Counter(rows) == Counter(range(ROWS))
    return told, status


def test_rows_outlast_an_endpoint_that_is_down(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served: list[subprocess.Popen[str]] = []

    def up() -> None:
        command = [sys.executable, "-m", "weft.engines.fake_endpoint", "--port", str(port)]
        server = subprocess.Popen([*command, "--mean", "0.2"], stdout=subprocess.PIPE, text=True)
        served.append(server)
        assert server.stdout is not None
        assert str(port) in server.stdout.readline()

    up()
    try:
        told, _ = run_through(
            tmp_path,
            str(tmp_path / "out"),
            f"{{openai: {{baseURL: 'http://127.0.0.1:{port}/v1', model: fake}}}}",
            down=lambda: served[-1].kill(),
            up=up,
        )
    finally:
        for server in served:
            server.kill()
            server.communicate()
    assert any(str(port) in line for line in told), told


def test_rows_outlast_a_disk_that_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=12) as disk:
        ballast = disk / "ballast"

        def fill() -> None:
            with ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))

        def down() -> None:
            with pytest.raises(OSError, match="No space left"):
                fill()

        told, _ = run_through(tmp_path, str(disk / "out"), SIMULATOR, down=down, up=ballast.unlink)
    if AWAY > 70:  # A commit is tried for a minute before it is said to fail.
        assert any("No space left" in line for line in told), told


@pytest.mark.skipif(program() is None, reason="versitygw is not built: e2e/cluster/build versitygw")
def test_rows_outlast_an_object_store_that_slows_everybody_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gateway(tmp_path / "s3") as options:
        gate = int(options["AWS_ENDPOINT_URL"].rpartition(":")[2])
        with proxy(gate) as slow:
            for name, value in options.items():
                monkeypatch.setenv(name, value)
            options = {**options, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{slow.port}"}
            monkeypatch.setenv("AWS_ENDPOINT_URL", options["AWS_ENDPOINT_URL"])
            run_through(
                tmp_path,
                "s3://bucket/out",
                SIMULATOR,
                down=lambda: setattr(slow, "throttles", True),
                up=lambda: setattr(slow, "throttles", False),
                options=options,
            )
            assert slow.refused > 0


@contextmanager
def small_disk(place: Path, *, megabytes: int) -> Iterator[Path]:
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
