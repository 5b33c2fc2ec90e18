"""Writers in processes of their own, killed at any moment, while readers read."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
from deltalake import DeltaTable

WRITER = Path(__file__).parent / "writer_process.py"
ROWS = 2000


def start(uri: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(uri), str(ROWS), "40"], stdout=subprocess.PIPE, text=True
    )


def test_writers_killed_over_and_over_leave_each_row_once(tmp_path: Path) -> None:
    uri = tmp_path / "out"
    chance = random.Random(7)
    stop = threading.Event()
    looks: list[int] = []
    doubled: list[int] = []

    def look() -> None:
        while not stop.wait(0.05):
            if not DeltaTable.is_deltatable(str(uri)):
                continue
            dataset = DeltaTable(uri).to_pyarrow_dataset()
            seen, distinct = (
                duckdb.connect()
                .sql("select count(row), count(distinct row) from dataset")
                .fetchall()[0]
            )
            looks.append(seen)
            if seen != distinct:
                doubled.append(seen)
            assert dataset is not None

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for _ in range(4):
            writer = start(uri)
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(chance.uniform(0.0, 0.25))
            writer.kill()
            writer.wait(10)
            writer.stdout.close()
        # Two at once: the one that claims last goes on, the other stops.
        last = [start(uri), start(uri)]
        codes = sorted(writer.wait(60) for writer in last)
        for writer in last:
            assert writer.stdout is not None
            writer.stdout.close()
    finally:
        stop.set()
        reader.join(20)
    assert codes[0] == 0
    assert codes[1] in (0, 3)
    keys = DeltaTable(uri).to_pyarrow_table(columns=["row"])["row"].to_pylist()
    assert sorted(keys) == list(range(ROWS))
    assert not doubled
    assert looks == sorted(looks)
    assert len(set(looks)) > 3
