"""Documents: text and Markdown files, each cut into passages, a row a passage.

A passage is some paragraphs that belong together, about `PASSAGE` characters; a heading of Markdown
begins a new one. The cuts depend on the file alone, so a passage keeps its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from weft.data.errors import SourceError
from weft.data.files import DataFile
from weft.data.reader import Glance, Record

SUFFIXES: tuple[str, ...] = (".txt", ".md")
PASSAGE = 1200
"""Characters of a passage: some paragraphs, which leave a prompt room for instructions."""
LARGEST = 64 << 20
"""Bytes of a document; a larger one is no document but a mistake."""
COLUMNS = frozenset({"document", "title", "passage", "text"})

_PARAGRAPH = re.compile(r"\n\s*\n")
_HEADING = re.compile(r"#{1,6}\s+(.+)")


def glance(file: DataFile) -> Glance:
    return Glance(COLUMNS, whole=True, rows=count(file))


def count(file: DataFile) -> int:
    return sum(1 for _ in _passages(file))


def read(file: DataFile, *, skip: int = 0) -> Iterator[Record]:
    """Rows with `document` (the file's name), `title` (the heading above, or the file's name),
    `passage` (its number in the document, from 1) and `text`."""
    for number, (line, title, text) in islice(enumerate(_passages(file), 1), skip, None):
        columns = {"document": file.name, "title": title, "passage": number, "text": text}
        yield Record(file.location(line), columns)


def _passages(file: DataFile) -> Iterator[tuple[int, str, str]]:
    """Line, title and text of each passage."""
    title, line, size = file.name, 1, 0
    kept: list[str] = []
    begins = 1
    for paragraph in _PARAGRAPH.split(_text(file)):
        text = paragraph.strip()
        heading = _HEADING.match(text)
        if kept and (heading or size + len(text) > PASSAGE):
            yield begins, title, "\n\n".join(kept)
            kept, size = [], 0
        if heading:
            title = heading[1].strip()
            text = text[heading.end() :].strip()
        if text:
            begins = begins if kept else line
            kept.append(text)
            size += len(text)
        line += paragraph.count("\n") + 2
    if kept:
        yield begins, title, "\n\n".join(kept)


def _text(file: DataFile) -> str:
    if file.size > LARGEST:
        raise SourceError(f"{file.name}: is larger than {LARGEST >> 20} MiB; cut it into documents")
    with file.open() as stream:
        content = stream.read()
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise SourceError(f"{file.name}: is not UTF-8; convert it") from None
