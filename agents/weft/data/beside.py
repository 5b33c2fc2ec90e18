"""Small files that lie beside the output's table, in `_weft/`: readers of Delta pass such folders
over."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

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
        """`uri`: the output's. Raises `OutputError` where no store is at that address."""
        self.uri = f"{absolute(uri).rstrip('/')}/{FOLDER}"
        self._options = storage_options
        self._patience = patience
        try:
            self._fs, self._path = filesystem(self.uri, storage_options)
        except StorageError as error:
            raise OutputError(str(error)) from None

    def write(self, name: str, content: bytes) -> None:
        """Put the file there, whole or not at all; it is durable when this returns."""
        patiently(
            lambda: self._write(name, content),
            what=f"{FOLDER}/{name} cannot be written",
            seconds=self._patience,
            storage_options=self._options,
        )

    def read(self, name: str) -> bytes | None:
        """None where there is no such file."""

        def step() -> bytes | None:
            try:
                found: bytes = self._fs.cat_file(f"{self._path}/{name}")
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
            try:
                found = self._fs.ls(f"{self._path}/{folder}", detail=False)
            except FileNotFoundError:
                return []
            names = [str(path).rstrip("/").rpartition("/")[2] for path in found]
            return sorted(name for name in names if name and not name.startswith("."))

        return patiently(
            step,
            what=f"{FOLDER}/{folder} cannot be listed",
            seconds=self._patience,
            storage_options=self._options,
        )

    def _write(self, name: str, content: bytes) -> None:
        folder = local_path(self.uri)
        if folder is None:
            self._fs.pipe_file(f"{self._path}/{name}", content)
            return
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with scratch.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The new name is durable only when the folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
