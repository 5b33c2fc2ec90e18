"""Small files that lie beside the output's table, in `_weft/`: readers of Delta pass such folders
over."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from weft.data.errors import OutputError
from weft.data.patience import PATIENCE, patiently
from weft.data.storage import StorageError, absolute, filesystem, local_path

FOLDER = "_weft"


class Beside:
    """Files by name (`plans/0000000003.json`). Calls block, and wait about `patience` seconds for a
    store that fails; then they raise `OutputError`."""

    def __init__(
        self, uri: str, storage_options: Mapping[str, str], *, patience: float = PATIENCE
    ) -> None:
        """`uri`: the output's."""
        self.uri = f"{absolute(uri).rstrip('/')}/{FOLDER}"
        self._options = storage_options
        self._patience = patience
        self._found: tuple[Any, str] | None = None

    def _store(self) -> tuple[Any, str]:
        """The file system and our folder in it."""
        if self._found is None:
            try:
                self._found = filesystem(self.uri, self._options)
            except StorageError as error:
                raise OutputError(str(error)) from None
        return self._found

    def write(self, name: str, content: bytes) -> None:
        """Put the file there, whole or not at all; it is durable when this returns."""
        patiently(
            lambda: self._write(name, content),
            what=f"{FOLDER}/{name} cannot be written",
            seconds=self._patience,
            storage_options=self._options,
        )

    def create(self, name: str, content: bytes) -> bool:
        """Put the file there unless one is there; False where another's is. Durable like `write`.

        A store that fails after it has taken the file is asked what it has: the content tells whose
        it is."""
        return patiently(
            lambda: self._create(name, content),
            what=f"{FOLDER}/{name} cannot be written",
            seconds=self._patience,
            storage_options=self._options,
        )

    def read(self, name: str) -> bytes | None:
        """None where there is no such file."""

        def step() -> bytes | None:
            fs, path = self._store()
            try:
                found: bytes = fs.cat_file(f"{path}/{name}")
            except FileNotFoundError:
                return None
            return found

        return patiently(
            step,
            what=f"{FOLDER}/{name} cannot be read",
            seconds=self._patience,
            storage_options=self._options,
        )

    def names(self, folder: str) -> list[str]:
        """The files in a folder below ours (`plans`), in order; no temporary ones."""

        def step() -> list[str]:
            fs, path = self._store()
            try:
                found = fs.ls(f"{path}/{folder}", detail=False)
            except FileNotFoundError:
                return []
            names = [str(each).rstrip("/").rpartition("/")[2] for each in found]
            return sorted(name for name in names if name and not name.startswith("."))

        return patiently(
            step,
            what=f"{FOLDER}/{folder} cannot be listed",
            seconds=self._patience,
            storage_options=self._options,
        )

    def _create(self, name: str, content: bytes) -> bool:
        folder = local_path(self.uri)
        try:
            if folder is None:
                fs, base = self._store()
                fs.pipe_file(f"{base}/{name}", content, mode="create")
            else:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with _scratch(path, content) as scratch:
                    os.link(scratch, path)
                _sync_folder(path.parent)
        except FileExistsError:
            return self.read(name) == content
        return True

    def _write(self, name: str, content: bytes) -> None:
        folder = local_path(self.uri)
        if folder is None:
            fs, base = self._store()
            fs.pipe_file(f"{base}/{name}", content)
            return
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _scratch(path, content) as scratch:
            scratch.replace(path)
        _sync_folder(path.parent)


@contextlib.contextmanager
def _scratch(path: Path, content: bytes) -> Iterator[Path]:
    """A file beside `path` with the content on disk; gone afterwards unless it was renamed."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """The new name is durable only when the folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
