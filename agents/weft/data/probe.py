"""Whether the output's store can carry atomic commits, tried out before a run writes to it.

Delta's commits stand on "create this file unless it is there" being atomic. *Hazard:* a store where
it is not (some S3 gateways, some network file systems) loses commits without an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsspec.asyn import AsyncFileSystem, sync

from weft.data.errors import OutputError
from weft.data.storage import StorageError, filesystem, local_path, one_line, scheme_of, shown

ROUNDS = 8
RIVALS = 6
_SECONDS = 60.0
_CONDITIONAL = ("s3", "s3a", "gs", "gcs")
"""Stores that many programs imitate. Azure's conditional writes are its own service's only."""


def probe_store(uri: str, storage_options: Mapping[str, str]) -> None:
    """Check that of several that create the same thing at once exactly one succeeds.

    Writes and deletes scratch files beside the table. Raises `OutputError` (one line)."""
    path = local_path(uri)
    if path is not None:
        _probe_folder(path)
    elif scheme_of(uri) in _CONDITIONAL:
        _probe_objects(uri, storage_options)


def _probe_folder(path: Path) -> None:
    scratch = path / f".weft-probe-{uuid.uuid4().hex}.tmp"
    link = scratch.with_suffix(".link.tmp")
    try:
        path.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(b"probe")
        os.link(scratch, link)
        with contextlib.suppress(FileExistsError):
            os.link(scratch, link)
            raise OutputError(
                f"{path}: the file system creates a file that is there already, so commits would "
                "get lost; use another one"
            )
    except OSError as error:
        raise OutputError(
            f"{path}: cannot carry commits (files cannot be written and linked there): "
            f"{error.strerror or error}"
        ) from None
    finally:
        for file in (scratch, link):
            with contextlib.suppress(OSError):
                file.unlink()


def _probe_objects(uri: str, storage_options: Mapping[str, str]) -> None:
    try:
        fs, path = filesystem(uri, storage_options)
    except StorageError as error:
        raise OutputError(str(error)) from None
    if not isinstance(fs, AsyncFileSystem):
        return
    try:
        winners = sync(fs.loop, _contest, fs, path.rstrip("/"), timeout=_SECONDS)
    except Exception as error:
        problem = one_line(error, storage_options) or type(error).__name__
        raise OutputError(f"{shown(uri)}: cannot be written to: {problem}") from error
    if max(winners) > 1:
        spoilt = sum(count > 1 for count in winners)
        raise OutputError(
            f"{shown(uri)}: the store's conditional put (If-None-Match) is not atomic: in {spoilt} "
            f"of {ROUNDS} rounds several of {RIVALS} writers created the same object, so commits "
            "would get lost; use a store, or a setting of it, where it is"
        )


async def _contest(fs: Any, path: str) -> list[int]:
    """How many of the rivals succeeded, for each round.

    Raises the store's error where none did and nothing is there."""
    name = f"{path}/.weft-probe-{uuid.uuid4().hex}"
    made: list[str] = []
    winners = []
    try:
        for key in (f"{name}-{number}" for number in range(ROUNDS)):
            results = await asyncio.gather(
                *(fs._pipe_file(key, bytes([n]), mode="create") for n in range(RIVALS)),
                return_exceptions=True,
            )
            errors = [result for result in results if isinstance(result, BaseException)]
            if len(errors) == RIVALS and not await fs._exists(key):
                raise errors[0]
            made.append(key)
            winners.append(RIVALS - len(errors))
    finally:
        for key in made:
            with contextlib.suppress(Exception):
                await fs._rm_file(key)
    return winners
