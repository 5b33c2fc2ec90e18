"""A folder of documents as rows: where passages are cut, and what each row says of its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft.data.errors import SourceError
from weft.data.source import inspect, read
from weft.data.text import PASSAGE
from weft_api.plan import Source
from weft_api.source import Dataset


def folder(at: Path) -> Source:
    return Source(dataset=Dataset(uri=str(at), format="text"))


def test_each_passage_is_a_row_that_knows_document_heading_and_place(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("Plain words.\r\n\r\nMore of them.\n")
    (tmp_path / "a.md").write_text("# One\n\nfirst\n\nsecond\n\n## Two\nthird\n")
    (tmp_path / "c.pdf").write_bytes(b"%PDF")
    rows = [row.columns for row in read(folder(tmp_path), {})]
    assert [(r["document"], r["title"], r["passage"], r["text"]) for r in rows] == [
        ("a.md", "One", 1, "first\n\nsecond"),
        ("a.md", "Two", 2, "third"),
        ("b.txt", "b.txt", 1, "Plain words.\n\nMore of them."),
    ]
    info = inspect(folder(tmp_path), {})
    assert info.rows == 3
    assert info.columns == {"document", "title", "passage", "text"}


def test_long_texts_are_cut_between_paragraphs_and_a_restart_finds_the_same_rows(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(f"{n} " + "x" * (PASSAGE // 3) for n in range(20)))
    rows = list(read(folder(tmp_path), {}))
    assert len(rows) == 10
    assert all(len(row.columns["text"]) <= PASSAGE for row in rows)
    assert list(read(folder(tmp_path), {}, start=4)) == rows[4:]


def test_a_document_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00x")
    with pytest.raises(SourceError, match=r"a\.txt: is not UTF-8; convert it"):
        inspect(folder(tmp_path), {})
