"""Where an export goes: nothing is there before it is whole, or something is there already."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

import fsspec

from weft.data.errors import ExportError
from weft.data.storage import StorageError, filesystem, local_path, shown


class Target:
    """The destination while it is written to."""

    def __init__(self, fs: fsspec.AbstractFileSystem, place: str) -> None:
        self._fs = fs
        self.place = place
        self.bytes = 0
        self.mark = ""
        """Tells the files of one export from those of another."""

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A file of the destination to write: `/data/x.parquet` in a folder, "" for itself."""
        path = self.place + name
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        with self._fs.open(path, "wb") as stream:
            yield stream
            self.bytes += stream.tell()

    def write(self, name: str, content: bytes) -> str:
        with self.open(name) as stream:
            stream.write(content)
        return name


@contextmanager
def destination(uri: str, options: Mapping[str, str], *, overwrite: bool) -> Iterator[Target]:
    """The target at the address; after an error nothing of it is left. Raises `ExportError`.

    A local one is made beside its place and renamed at the end. An object store has no renaming, so
    a folder there fills up file by file, with the README as the last."""
    try:
        fs, path = filesystem(uri, options)
    except StorageError as error:
        raise ExportError(str(error)) from None
    path = path.rstrip("/")
    there = fs.exists(path)
    if there and fs.exists(f"{path}/_delta_log"):
        raise ExportError(f"{shown(uri)}: is a Delta table; choose another destination")
    if there and not overwrite:
        raise ExportError(
            f"{shown(uri)}: exists already; choose another destination or overwrite it"
        )
    making = path
    if local_path(uri) is not None:
        parent, _, name = path.rpartition("/")
        making = f"{parent}/.{name}.{uuid.uuid4().hex[:8]}.tmp"
    elif there:
        fs.rm(path, recursive=True)
    target = Target(fs, making)
    try:
        yield target
        if making != path:
            if there:
                fs.rm(path, recursive=True)
            fs.mv(making, path, recursive=True)
    except BaseException:
        with contextlib.suppress(Exception):
            if fs.exists(making):
                fs.rm(making, recursive=True)
        raise
    target.place = path
