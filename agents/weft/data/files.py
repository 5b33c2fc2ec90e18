"""The files behind a source's address: one, a pattern's, or a folder's, in sorted order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import fsspec
import msgspec

from weft.data.errors import SourceError
from weft.data.storage import StorageError, filesystem, one_line, shown

_SAMPLE = 64 << 10
_SAMPLED_FILES = 16
_PATTERN = frozenset("*?[")


class DataFile(msgspec.Struct):
    """One file. Its `name` is short, for errors: relative to the source's address."""

    fs: fsspec.AbstractFileSystem
    path: str
    name: str
    size: int

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The raw bytes. Errors of the store, while open, come out as `SourceError`."""
        try:
            with self.fs.open(self.path, "rb") as stream:
                yield stream
        except OSError as error:
            raise SourceError(f"{self.name}: cannot be read: {one_line(error)}") from error

    def location(self, line: int) -> str:
        return f"{self.name}:{line}"


def find(
    uri: str, storage_options: Mapping[str, str], *, suffixes: Sequence[str]
) -> list[DataFile]:
    """The files at the address, sorted by path. Of a folder those with one of the suffixes,
    hidden ones and those that start with `_` left out. Raises `SourceError`."""
    try:
        fs, path = filesystem(uri, storage_options)
    except StorageError as error:
        raise SourceError(str(error)) from None
    try:
        found = _find(fs, path, uri, suffixes)
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(
            f"{shown(uri)}: cannot be reached: {one_line(error, storage_options)}"
        ) from error
    return found


def _find(
    fs: fsspec.AbstractFileSystem, path: str, uri: str, suffixes: Sequence[str]
) -> list[DataFile]:
    if _PATTERN & set(path) and not fs.exists(path):
        matches = fs.glob(path, detail=True)
        entries = [entry for entry in matches.values() if entry["type"] == "file"]
        if not entries:
            raise SourceError(f"{shown(uri)}: no file matches")
        root = path[: min(path.index(sign) for sign in _PATTERN if sign in path)]
        return _sorted(fs, entries, root.rpartition("/")[0])
    try:
        info = fs.info(path)
    except FileNotFoundError:
        raise SourceError(f"{shown(uri)}: no such file or folder") from None
    if info["type"] != "directory":
        return _sorted(fs, [info], path.rpartition("/")[0])
    inside = fs.find(path, detail=True)
    if any("/_delta_log/" in name for name in inside):
        raise SourceError(
            f"{shown(uri)}: is a Delta table, whose files are no rows by themselves; export it "
            "first (weft export) and name the export"
        )
    entries = [
        entry
        for name, entry in inside.items()
        if name.endswith(tuple(suffixes)) and not _is_hidden(name.removeprefix(path))
    ]
    if not entries:
        raise SourceError(f"{shown(uri)}: holds no file that ends in {' or '.join(suffixes)}")
    return _sorted(fs, entries, path.rstrip("/"))


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.strip("/").split("/"))


def _sorted(
    fs: fsspec.AbstractFileSystem, entries: Iterable[Mapping[str, Any]], root: str
) -> list[DataFile]:
    files = [
        DataFile(
            fs,
            entry["name"],
            entry["name"].removeprefix(root).lstrip("/"),
            int(entry.get("size") or 0),
        )
        for entry in entries
    ]
    return sorted(files, key=lambda file: file.path)


def fingerprint(files: Sequence[DataFile], *salt: str) -> str:
    """Names the content: all names and sizes, and both ends of the first files.

    Cheap for any size; a change in the middle of a file that keeps its size goes unseen."""
    digest = hashlib.sha256("\0".join(salt).encode())
    for number, file in enumerate(files):
        digest.update(f"{file.name}\0{file.size}\0".encode())
        if number >= _SAMPLED_FILES:
            continue
        with file.open() as stream:
            digest.update(stream.read(_SAMPLE))
            if file.size > 2 * _SAMPLE:
                stream.seek(file.size - _SAMPLE)
                digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()[:16]
