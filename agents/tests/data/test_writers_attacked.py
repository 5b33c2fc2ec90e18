"""Sixteen writers of one table, on a store that lies to each of them, while a reader reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable
from faulty_writer import ROWS
from s3_gateway import gateway, program

from weft.data.storage import delta_options

WRITER = Path(__file__).parent / "faulty_writer.py"
WRITERS = 16
COMMITS = int(os.environ.get("WEFT_COMMITS", "8"))
"""Of each writer; `docs/reliability.md` has a run with 100."""


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    if request.param == "disk":
        yield str(tmp_path / "out"), {}
    elif program() is None:
        pytest.skip("versitygw is not built: e2e/cluster/build versitygw")
    else:
        with gateway(tmp_path) as options:
            yield "s3://bucket/out", options


@pytest.mark.timeout(120 + 30 * COMMITS)
def test_rows_are_there_once_and_no_reader_sees_one_twice(
    store: tuple[str, dict[str, str]],
) -> None:
    uri, options = store
    reader = Reader(uri, options)
    processes = [
        subprocess.Popen(
            [sys.executable, str(WRITER), uri, str(number), str(WRITERS), str(COMMITS)],
            env={**os.environ, **options},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(WRITERS)
    ]
    with reader:
        told = [process.communicate(timeout=90 + 25 * COMMITS)[0] for process in processes]
    struck: Counter[str] = Counter()
    for process, line in zip(processes, told, strict=True):
        assert line, f"ended with {process.returncode}"
        struck += Counter(json.loads(line))
    keys = reader.keys()
    assert sorted(keys) == list(range(WRITERS * COMMITS * ROWS))
    assert reader.doubled == []
    assert reader.looks == sorted(reader.looks)
    assert len(set(reader.looks)) > 3
    for fault in ("failed before it landed", "landed, and reported as failed", "zombie refused"):
        assert struck[fault] > 0, struck
    assert struck["landed late"] + struck["came too late"] > 0
    print(f"{len(set(reader.looks))} looks, {dict(struck)}")


class Reader:
    """Counts rows over and over while it is entered."""

    def __init__(self, uri: str, options: dict[str, str]) -> None:
        self.looks: list[int] = []
        self.doubled: list[int] = []
        self._uri = uri
        self._options = delta_options(uri, options)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def keys(self) -> list[int]:
        table = DeltaTable(self._uri, storage_options=self._options)
        found: list[int] = table.to_pyarrow_table(columns=["row"])["row"].to_pylist()
        return found

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            if not DeltaTable.is_deltatable(self._uri, self._options):
                continue
            table = DeltaTable(self._uri, storage_options=self._options)
            dataset = table.to_pyarrow_table(columns=["row"])
            count, distinct = (
                duckdb.connect()
                .sql("select count(row), count(distinct row) from dataset")
                .fetchall()[0]
            )
            assert dataset is not None
            self.looks.append(count)
            if count != distinct:
                self.doubled.append(count)
