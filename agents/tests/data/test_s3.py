"""Sources, output and exports on a real S3 gateway; and one that would lose commits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from deltalake import DeltaTable
from finished_rows import batch
from s3_gateway import SECRET, gateway, program

from weft.data.errors import ExportError, OutputError, SourceError
from weft.data.export import export
from weft.data.probe import probe_store
from weft.data.source import inspect, read
from weft.data.storage import delta_options, fsspec_options
from weft.data.table import OutputTable
from weft_api.plan import Source

pytestmark = pytest.mark.skipif(
    program() is None, reason="versitygw is not built: e2e/cluster/build versitygw"
)
WRITER = Path(__file__).parent / "writer_process.py"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with gateway(tmp_path_factory.mktemp("s3")) as options:
        yield options


def keys(uri: str, store: dict[str, str]) -> list[int]:
    table = DeltaTable(uri, storage_options=delta_options(uri, store))
    return sorted(table.to_pyarrow_table(columns=["row"])["row"].to_pylist())


def put(uri: str, content: bytes, store: dict[str, str]) -> None:
    with fsspec.open(uri, "wb", **fsspec_options(uri, store)) as stream:
        stream.write(content)


def test_a_store_with_atomic_creation_passes_the_probe(store: dict[str, str]) -> None:
    probe_store("s3://bucket/probed/out", store)
    fs = fsspec.filesystem("s3", **fsspec_options("s3://", store))
    assert not [name for name in fs.find("bucket") if "probe" in name]


def test_a_store_without_atomic_creation_is_refused(tmp_path: Path) -> None:
    with gateway(tmp_path, "--nometa") as options, pytest.raises(OutputError) as refused:
        probe_store("s3://bucket/out", options)
    assert str(refused.value).startswith(
        "s3://bucket/out: the store's conditional put (If-None-Match) is not atomic: in "
    )
    assert "\n" not in str(refused.value)


def test_rows_are_read_committed_and_exported_there(store: dict[str, str]) -> None:
    for number, part in enumerate((b'{"a": 1}\n{"a": 2}\n', b'{"a": 3}\n')):
        put(f"s3://bucket/in/{number}.jsonl", part, store)
    dataset = {"uri": "s3://bucket/in", "format": "jsonl"}
    source = Source.model_validate({"dataset": dataset})
    assert inspect(source, store).rows == 3
    assert [row.columns for row in read(source, store)] == [{"a": 1}, {"a": 2}, {"a": 3}]

    uri = "s3://bucket/round/out"
    table = OutputTable.open(uri, store, pipeline="support", patience=10)
    table.claim(0)
    table.commit(0, batch(range(5)) + batch(range(5, 7), "dead"))
    again = OutputTable.open(uri, store, pipeline="support", patience=10)
    assert len(again.claim(0).rows) == 7
    assert again.counts() == {"accepted": 5, "rejected": 0, "dead": 2}
    assert keys(uri, store) == list(range(7))

    export(uri, "s3://bucket/round/set", "huggingface", storage_options=store)
    fs = fsspec.filesystem("s3", **fsspec_options(uri, store))
    assert len(fs.find("bucket/round/set")) == 2
    assert not [name for name in fs.find("bucket/round") if name.endswith(".tmp")]


def test_writers_at_once_lose_no_commit(store: dict[str, str]) -> None:
    uri = "s3://bucket/many/out"

    def write(partition: int) -> None:
        table = OutputTable.open(uri, store, pipeline="support", partitions=4, patience=60)
        table.claim(partition)
        for start in range(0, 40, 8):
            table.commit(partition, batch(range(start + partition, start + 8, 4)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert keys(uri, store) == list(range(40))


def test_a_writer_killed_over_and_over_leaves_each_row_once(store: dict[str, str]) -> None:
    uri = "s3://bucket/killed/out"
    command = [sys.executable, str(WRITER), uri, "300", "10"]
    environment = {**os.environ, **store}
    for commits in (1, 4):
        writer = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(commits + 1):
            assert writer.stdout.readline()
        writer.kill()
        writer.wait(10)
        writer.stdout.close()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert int(done.stdout.split()[1]) >= 50
    assert keys(uri, store) == list(range(300))


def test_an_outage_shorter_than_the_patience_is_only_waited_for(tmp_path: Path) -> None:
    with gateway(tmp_path) as options:
        table = OutputTable.open("s3://bucket/out", options, pipeline="support", patience=30)
        table.claim(0)
        table.commit(0, batch([1]))
    port = int(options["AWS_ENDPOINT_URL"].rpartition(":")[2])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(table.commit, 0, batch([2]))
        with pytest.raises(TimeoutError):
            waiting.result(1.0)
        with gateway(tmp_path, port=port) as options:
            assert waiting.result(40).rows == 1
            assert keys("s3://bucket/out", options) == [1, 2]


def test_what_is_wrong_is_said_in_one_line_without_the_secret(store: dict[str, str]) -> None:
    wrong = {**store, "AWS_SECRET_ACCESS_KEY": "wr0ng-and-secret"}
    away = {**store, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    put("s3://bucket/a.jsonl", b"{}\n", store)
    dataset = {"uri": "s3://bucket/a.jsonl", "format": "jsonl"}
    source = Source.model_validate({"dataset": dataset})
    missing = {"uri": "s3://nobucket/a.jsonl", "format": "jsonl"}
    nowhere = Source.model_validate({"dataset": missing})
    told = []
    for action in (
        lambda: inspect(source, wrong),
        lambda: inspect(source, away),
        lambda: inspect(nowhere, store),
        lambda: probe_store("s3://bucket/x", wrong),
        lambda: probe_store("s3://bucket/x", away),
        lambda: probe_store("s3://nobucket/x", store),
        lambda: OutputTable.open("s3://bucket/x", wrong, pipeline="p"),
        lambda: OutputTable.open("s3://bucket/x", away, pipeline="p"),
        lambda: OutputTable.open("s3://nobucket/x", store, pipeline="p"),
        lambda: export("s3://bucket/none", "s3://bucket/x", "jsonl", storage_options=store),
    ):
        with pytest.raises((SourceError, OutputError, ExportError)) as refused:
            action()
        told.append(str(refused.value))
    for text in told:
        assert text.startswith("s3://")
        assert "\n" not in text
        assert len(text) < 600
        assert SECRET not in text
        assert "wr0ng" not in text
    print("\n".join(told))
