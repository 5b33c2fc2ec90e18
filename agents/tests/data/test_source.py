"""Sources of every kind, and what is wrong with them."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import json
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import datasets
import fsspec
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weft.data.errors import SourceError
from weft.data.seen import SeenIds
from weft.data.source import SourceRow, inspect, read
from weft_api.plan import Source

Rows = list[dict[str, Any]]
ROWS: Rows = [{"ticket": f"t{n}", "text": f"Hello {n}", "n": n} for n in range(10)]


def source(uri: object, format: str | None = "jsonl", id_field: str | None = None) -> Source:
    return Source.model_validate(
        {"dataset": {"uri": str(uri), "format": format, "idField": id_field}}
    )


def jsonl(rows: Iterable[object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def columns(rows: Iterable[SourceRow]) -> Rows:
    rows = list(rows)
    assert [row.error for row in rows] == [""] * len(rows)
    return [row.columns for row in rows]


def write_jsonl(folder: Path) -> Source:
    (folder / "a.jsonl").write_bytes(jsonl(ROWS))
    return source(folder / "a.jsonl")


def write_gzip(folder: Path) -> Source:
    (folder / "a.jsonl.gz").write_bytes(
        gzip.compress(jsonl(ROWS[:4])) + gzip.compress(jsonl(ROWS[4:]))
    )
    return source(folder / "a.jsonl.gz")


def write_zstd(folder: Path) -> Source:
    with pa.output_stream(folder / "a.jsonl.zst", compression="zstd") as stream:
        stream.write(jsonl(ROWS))
    return source(folder / "a.jsonl.zst")


def write_folder(folder: Path) -> Source:
    (folder / "deep").mkdir()
    (folder / "deep" / "2.jsonl").write_bytes(jsonl(ROWS[3:]))
    (folder / "1.jsonl").write_bytes(jsonl(ROWS[:3]))
    (folder / "_SUCCESS").touch()
    (folder / ".hidden.jsonl").write_text("no")
    (folder / "1.jsonl").rename(folder / "a1.jsonl")
    return source(folder)


def write_pattern(folder: Path) -> Source:
    (folder / "part-1.jsonl").write_bytes(jsonl(ROWS[:3]))
    (folder / "part-2.jsonl").write_bytes(jsonl(ROWS[3:]))
    (folder / "other.jsonl").write_bytes(jsonl([{"no": 1}]))
    return source(folder / "part-*.jsonl")


def write_file_uri(folder: Path) -> Source:
    (folder / "a.jsonl").write_bytes(jsonl(ROWS))
    return source(f"file://{folder}/a.jsonl")


def write_parquet(folder: Path) -> Source:
    pq.write_table(pa.Table.from_pylist(ROWS[:7]), folder / "a.parquet", row_group_size=2)
    pq.write_table(pa.Table.from_pylist(ROWS[7:]), folder / "b.parquet")
    return source(folder, "parquet")


def write_saved(folder: Path) -> Source:
    datasets.Dataset.from_list(ROWS).save_to_disk(folder, num_shards=3)
    return source(folder, "huggingface")


def write_saved_dict(folder: Path) -> Source:
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(folder)
    return source(folder, "huggingface")


def write_hub(folder: Path) -> Source:
    (folder / "data").mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    for number, part in enumerate((ROWS[:5], ROWS[5:])):
        name = f"train-0000{number}-of-00002.parquet"
        pq.write_table(pa.Table.from_pylist(part), folder / "data" / name)
    return source(folder, "huggingface")


KINDS = [
    write_jsonl,
    write_gzip,
    write_zstd,
    write_folder,
    write_pattern,
    write_file_uri,
    write_parquet,
    write_saved,
    write_saved_dict,
    write_hub,
]


@pytest.mark.parametrize("write", KINDS)
def test_every_kind_gives_the_same_rows_in_order(
    tmp_path: Path, write: Callable[[Path], Source]
) -> None:
    rows = list(read(write(tmp_path), {}))
    assert columns(rows) == ROWS
    assert [row.ordinal for row in rows] == list(range(10))
    assert [row.id for row in rows] == [str(n) for n in range(10)]


@pytest.mark.parametrize("write", KINDS)
def test_reading_from_any_ordinal_gives_the_rest(
    tmp_path: Path, write: Callable[[Path], Source]
) -> None:
    from_it = write(tmp_path)
    whole = list(read(from_it, {}))
    for start in range(12):
        assert list(read(from_it, {}, start=start)) == whole[start:]


@pytest.mark.parametrize("write", KINDS)
def test_a_look_tells_columns_and_rows_where_they_are_cheap(
    tmp_path: Path, write: Callable[[Path], Source]
) -> None:
    info = inspect(write(tmp_path), {})
    assert info.columns == frozenset({"ticket", "text", "n"})
    assert info.rows in (10, None)
    assert (info.rows is None) == (write in (write_saved, write_saved_dict))


def test_csv_values_are_text_as_they_stand_there(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes('\ufeffzip,text\r\n007,"two\r\nlines, and a comma"\r\n\r\n8,é\r\n'.encode())
    rows = list(read(source(file, "csv"), {}))
    assert columns(rows) == [
        {"zip": "007", "text": "two\r\nlines, and a comma"},
        {"zip": "8", "text": "é"},
    ]
    assert inspect(source(file, "csv"), {}).columns == frozenset({"zip", "text"})
    assert list(read(source(file, "csv"), {}, start=1)) == rows[1:]


def test_rows_come_from_any_fsspec_address() -> None:
    with fsspec.open("memory://weft-source/a.jsonl", "wb") as stream:
        stream.write(jsonl(ROWS))
    assert columns(read(source("memory://weft-source/a.jsonl"), {})) == ROWS
    assert columns(read(source("memory://weft-source/*.jsonl"), {})) == ROWS
    assert inspect(source("memory://weft-source"), {}).rows == 10


def test_generated_rows_know_their_number() -> None:
    made = Source.model_validate({"generate": {"rows": 3}})
    assert columns(read(made, {})) == [{"index": 0}, {"index": 1}, {"index": 2}]
    assert [row.ordinal for row in read(made, {}, start=2)] == [2]
    assert inspect(made, {}).rows == 3
    assert inspect(made, {}).columns == frozenset({"index"})


def test_the_id_field_names_the_rows(tmp_path: Path) -> None:
    write_jsonl(tmp_path)
    rows = read(source(tmp_path / "a.jsonl", id_field="ticket"), {})
    assert [row.id for row in rows] == [f"t{n}" for n in range(10)]
    numbers = read(source(tmp_path / "a.jsonl", id_field="n"), {}, start=8)
    assert [(row.ordinal, row.id) for row in numbers] == [(8, "8"), (9, "9")]


def test_a_doubled_id_spoils_the_later_row_and_names_the_first(tmp_path: Path) -> None:
    many = [{"id": f"x{n}"} for n in range(40_000)]
    many[39_999] = {"id": "x5"}
    many[7] = {"id": "x5"}
    (tmp_path / "a.jsonl").write_bytes(jsonl(many))
    spoilt = [row for row in read(source(tmp_path / "a.jsonl", id_field="id"), {}) if row.error]
    assert [(row.ordinal, row.error) for row in spoilt] == [
        (7, "a.jsonl:8: id 'x5' is there already, in row 5 (counted from 0)"),
        (39_999, "a.jsonl:40000: id 'x5' is there already, in row 5 (counted from 0)"),
    ]
    late = list(read(source(tmp_path / "a.jsonl", id_field="id"), {}, start=39_999))
    assert late == spoilt[1:]


@pytest.mark.parametrize("value", [None, "", True, [1], {"a": 1}])
def test_a_row_without_a_usable_id_is_an_error(tmp_path: Path, value: object) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"id": "ok"}, {"id": value}, {}]))
    rows = list(read(source(tmp_path / "a.jsonl", id_field="id"), {}))
    problem = "no id: the field 'id' must be text or a number"
    assert [row.error for row in rows] == ["", f"a.jsonl:2: {problem}", f"a.jsonl:3: {problem}"]


def test_two_million_ids_cost_twelve_bytes_each() -> None:
    seen = SeenIds()
    for start in range(0, 2_000_000, 10_000):
        numbers = range(start, start + 10_000)
        assert not any(
            first is not None for first in seen.first([f"id-{n}" for n in numbers], numbers)
        )
    assert seen.nbytes <= 24_000_000
    assert seen.first(["id-7", "id-1999999", "new", "new"], [5, 6, 7, 8]) == [7, 1_999_999, None, 7]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"a": ', "a.jsonl:3: not JSON (Input data was truncated)"),
        (b"hello", "a.jsonl:3: not JSON (JSON is malformed: invalid character (byte 0))"),
        (b"[1, 2]", "a.jsonl:3: not a JSON object"),
        (b'{"a": "\xff"}', "a.jsonl:3: not UTF-8"),
        (b"[" * 100_000, "a.jsonl:3: not JSON (maximum recursion depth exceeded"),
    ],
)
def test_a_broken_line_spoils_its_own_row_only(tmp_path: Path, line: bytes, problem: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n\n' + line + b'\n{"a": 2}')
    first, broken, last = read(source(tmp_path / "a.jsonl"), {})
    assert (first.columns, last.columns) == ({"a": 1}, {"a": 2})
    assert broken.error.startswith(problem)
    assert (broken.ordinal, broken.id) == (1, "1")
    assert len(broken.columns["line"]) <= 4096
    assert inspect(source(tmp_path / "a.jsonl"), {}).columns == frozenset({"a"})


def test_a_line_without_end_is_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weft.data.jsonl.LONGEST_LINE", 1 << 20)
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n{"a": "' + b"x" * (30 << 20) + b'"}\n{"a": 2}\n')
    tracemalloc.start()
    first, broken, last = read(source(tmp_path / "a.jsonl"), {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (first.columns, last.columns) == ({"a": 1}, {"a": 2})
    assert broken.error == "a.jsonl:2: line longer than 1 MiB"
    assert peak < 8 << 20


def test_a_large_file_is_streamed(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as stream:
        for n in range(4000):
            stream.write(jsonl([{"n": n, "text": "x" * 10_000}]))
    pq.write_table(
        pa.table({"n": range(4000), "text": ["x" * 10_000] * 4000}),
        tmp_path / "a.parquet",
        row_group_size=500,
        use_dictionary=False,
    )
    for name in ("a.jsonl", "a.parquet"):
        tracemalloc.start()
        assert sum(1 for _ in read(source(tmp_path / name, name[2:]), {})) == 4000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 12 << 20, name


def test_csv_rows_that_do_not_fit_the_header_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n1,2,3\n1\n\xff,2\n3,4\n")
    rows = list(read(source(tmp_path / "a.csv", "csv"), {}))
    assert [row.error for row in rows] == [
        "",
        "a.csv:3: 3 values, but the header names 2 columns",
        "a.csv:4: 1 values, but the header names 2 columns",
        "a.csv:5: not UTF-8",
        "",
    ]
    msgspec.msgpack.encode(rows)


def test_all_values_can_be_carried_by_a_message(tmp_path: Path) -> None:
    table = pa.table(
        {
            "day": [dt.date(2026, 1, 2)],
            "time": [dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)],
            "clock": [dt.time(3, 4)],
            "length": [dt.timedelta(seconds=90)],
            "price": [decimal.Decimal("1.10")],
            "image": [b"\x00\x01"],
            "nested": [[{"a": [decimal.Decimal(1)]}]],
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "nothing": pa.nulls(1),
            "float": [1.5],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (row,) = read(source(tmp_path / "a.parquet", "parquet"), {})
    assert row.columns == {
        "day": "2026-01-02",
        "time": "2026-01-02T03:04:00+00:00",
        "clock": "03:04:00",
        "length": 90.0,
        "price": "1.10",
        "image": "AAE=",
        "nested": [{"a": ["1"]}],
        "map": {"k": 1},
        "nothing": None,
        "float": 1.5,
    }
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(row.columns)) == row.columns


def test_whole_numbers_beyond_64_bits_become_text(tmp_path: Path) -> None:
    huge = 1 << 70
    (tmp_path / "a.jsonl").write_bytes(jsonl([{"a": huge, "b": [-huge], "c": 1 << 63}]))
    (row,) = read(source(tmp_path / "a.jsonl"), {})
    assert row.columns == {"a": str(huge), "b": [str(-huge)], "c": 1 << 63}
    msgspec.msgpack.encode(row.columns)


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    for folder in ("x", "y"):
        (tmp_path / folder / "a.jsonl").write_bytes(jsonl(ROWS))
    before = inspect(source(tmp_path / "x"), {}).fingerprint
    assert inspect(source(tmp_path / "y"), {}).fingerprint == before
    assert inspect(source(tmp_path / "y", id_field="n"), {}).fingerprint != before
    (tmp_path / "y" / "a.jsonl").write_bytes(jsonl([*ROWS[:-1], {**ROWS[-1], "n": 8}]))
    assert inspect(source(tmp_path / "y"), {}).fingerprint != before


def make_hub_with_splits(folder: Path) -> Source:
    for split in ("train", "test"):
        pq.write_table(pa.Table.from_pylist(ROWS), folder / f"{split}-00000.parquet")
    return source(folder, "huggingface")


def make_saved_splits(folder: Path) -> Source:
    rows = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(folder)
    return source(folder, "huggingface")


def write_saved_without_a_shard(folder: Path) -> Source:
    saved = write_saved(folder)
    (folder / "data-00001-of-00003.arrow").unlink()
    return saved


def make(name: str, content: bytes, format: str = "jsonl", id_field: str | None = None) -> Any:
    def write(folder: Path) -> Source:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        return source(folder / name, format, id_field)

    return write


BAD: dict[str, tuple[Callable[[Path], Source], str]] = {
    "missing": (lambda at: source(at / "no.jsonl"), "{at}/no.jsonl: no such file or folder"),
    "no match": (lambda at: source(at / "*.jsonl"), "{at}/*.jsonl: no file matches"),
    "empty folder": (
        lambda at: source(at, "csv"),
        "{at}: holds no file that ends in .csv or .tsv",
    ),
    "empty file": (make("a.jsonl", b"\n \n"), "{at}/a.jsonl: holds no rows"),
    "header only": (make("a.csv", b"a,b\n", "csv"), "{at}/a.csv: holds no rows"),
    "no header": (make("a.csv", b"", "csv"), "a.csv: has no header in its first line"),
    "semicolons": (
        make("a.csv", b"a;b\n1;2\n", "csv"),
        "a.csv:1: one column only; its separator must be a comma",
    ),
    "column twice": (make("a.csv", b"a,a\n", "csv"), "a.csv:1: the column 'a' is there twice"),
    "id missing": (
        make("a.jsonl", jsonl(ROWS), id_field="id"),
        "{at}/a.jsonl: no column 'id' (idField); there are n, text, ticket",
    ),
    "array": (
        make("a.jsonl", b'[{"a": 1},\n{"a": 2}]'),
        "a.jsonl: holds a JSON array; Weft reads one JSON object a line",
    ),
    "utf-16": (
        make("a.jsonl", '{"a": 1}\n'.encode("utf-16")),
        "a.jsonl: is UTF-16; convert it to UTF-8",
    ),
    "cut archive": (
        make("a.jsonl.gz", gzip.compress(jsonl(ROWS))[:-20]),
        "a.jsonl.gz: is damaged: Compressed file ended",
    ),
    "no archive": (make("a.jsonl.gz", jsonl(ROWS)), "a.jsonl.gz: is damaged: Not a gzipped file"),
    "no zstd": (make("a.jsonl.zst", jsonl(ROWS)), "a.jsonl.zst: cannot be read: ZSTD"),
    "no parquet": (
        make("a.parquet", jsonl(ROWS), "parquet"),
        "a.parquet: not Parquet, or damaged: ",
    ),
    "no scheme": (lambda at: source("nope://b/a.jsonl"), "nope://b/a.jsonl: cannot be reached: "),
    "delta table": (
        lambda at: make("_delta_log/0.json", b"{}")(at) and source(at),
        "{at}: is a Delta table, whose files are no rows by themselves; export it first",
    ),
    "hub splits": (
        make_hub_with_splits,
        "{at}: has the splits test, train; name the files of one, as in {at}/**/train*",
    ),
    "saved splits": (
        make_saved_splits,
        "{at}: has the splits train, test; name one: {at}/train",
    ),
    "shard gone": (
        write_saved_without_a_shard,
        "{at}: state.json names data-00001-of-00003.arrow, which is not there",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_source_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    write, problem = BAD[name]
    bad = write(tmp_path)
    with pytest.raises(SourceError) as refused:
        inspect(bad, {})
    text = str(refused.value)
    assert text.startswith(problem.format(at=tmp_path))
    assert "\n" not in text
    assert len(text) < 600


def test_a_file_that_may_not_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    class Denied(fsspec.implementations.local.LocalFileSystem):  # type: ignore[misc]
        protocol = "denied"

        def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
            raise PermissionError(13, "Permission denied")

    fsspec.register_implementation("denied", Denied, clobber=True)
    (tmp_path / "a.jsonl").write_bytes(jsonl(ROWS))
    with pytest.raises(SourceError, match=r"^a\.jsonl: cannot be read: .*Permission denied$"):
        inspect(source(f"denied://{tmp_path}/a.jsonl"), {})


def test_digests_that_wrap_around_are_found_again() -> None:
    seen = SeenIds()
    ids = [f"{n}" for n in range(70_000)]
    for start in range(0, len(ids), 700):
        seen.first(ids[start : start + 700], range(start, start + 700))
    order = np.random.default_rng(1).permutation(len(ids))
    found = seen.first([ids[n] for n in order], range(70_000, 140_000))
    assert found == order.tolist()
