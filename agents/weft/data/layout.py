"""Making the output table, or finding it made, and what it says of itself."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping

import msgspec
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import TableNotFoundError

from weft.data.beside import FOLDER
from weft.data.columns import TABLE_SCHEMA
from weft.data.errors import OutputError
from weft.data.storage import (
    StorageError,
    delta_options,
    filesystem,
    local_path,
    one_line,
    scheme_of,
    shown,
)

FORMAT = "3"
"""Rises when a table of the old schema can no longer be written to."""
SCHEMES = ("file", "s3", "s3a", "gs", "az", "abfs", "abfss")

_TABLE_SETTINGS = {
    # Days of log that are kept for readers of old versions; older is deleted at checkpoints, so
    # that a listing of the log stays short.
    "delta.logRetentionDuration": "interval 2 days",
    # A commit reads the log since the last checkpoint.
    "delta.checkpointInterval": "25",
    "delta.dataSkippingStatsColumns": "row",
}


class Properties(msgspec.Struct, frozen=True):
    """What Weft keeps in the table's own configuration, fixed when the table is made."""

    pipeline: str
    uid: str = ""
    partitions: int = 1
    source: str = ""

    def to_configuration(self) -> dict[str, str | None]:
        return {
            **_TABLE_SETTINGS,
            "weft.format": FORMAT,
            "weft.pipeline": self.pipeline,
            "weft.uid": self.uid,
            "weft.partitions": str(self.partitions),
            "weft.source": self.source,
        }

    @classmethod
    def of(cls, table: DeltaTable, uri: str) -> Properties:
        """Raises `OutputError` for a table that is not ours to write to."""
        kept = table.metadata().configuration
        if "weft.pipeline" not in kept:
            raise OutputError(
                f"{shown(uri)}: holds a Delta table that Weft did not make; choose another "
                "output.uri"
            )
        if kept.get("weft.format") != FORMAT:
            raise OutputError(
                f"{shown(uri)}: was made by another version of Weft (format "
                f"{kept.get('weft.format')}, this one writes {FORMAT}); choose another output.uri"
            )
        return cls(
            pipeline=kept["weft.pipeline"],
            uid=kept.get("weft.uid", ""),
            partitions=int(kept["weft.partitions"]),
            source=kept.get("weft.source", ""),
        )


def open_existing(uri: str, storage_options: Mapping[str, str]) -> DeltaTable:
    """Raises `OutputError` where there is no table, or none that can be read."""
    try:
        return DeltaTable(uri, storage_options=delta_options(uri, storage_options))
    except TableNotFoundError:
        raise OutputError(f"{shown(uri)}: holds no output of Weft (no Delta table)") from None
    except Exception as error:
        raise OutputError(
            f"{shown(uri)}: cannot be read: {one_line(error, storage_options)}"
        ) from error


def open_or_make(uri: str, storage_options: Mapping[str, str], wanted: Properties) -> DeltaTable:
    """The table, made where there is none. Of several that make it at once, one does and all open
    the same. Raises `OutputError`."""
    if scheme_of(uri) not in SCHEMES:
        raise OutputError(
            f"{shown(uri)}: the output must be a local path or one of s3://, gs://, az://"
        )
    _check_writable(uri)
    options = delta_options(uri, storage_options)
    with contextlib.suppress(TableNotFoundError):
        return _load(uri, options)
    _check_empty(uri, storage_options)
    problem: Exception | None = None
    try:
        return DeltaTable.create(
            uri,
            TABLE_SCHEMA,
            mode="error",
            partition_by=["status"],
            name=wanted.pipeline,
            description="Rows made by Weft: accepted, rejected and dead",
            configuration=wanted.to_configuration(),
            storage_options=options,
            raise_if_key_not_exists=False,
            # *Hazard:* with retries, the one that comes second makes the table anew as version 1.
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    except Exception as error:
        problem = error
    with contextlib.suppress(TableNotFoundError):
        return _load(uri, options)
    raise OutputError(
        f"{shown(uri)}: cannot be written to: {one_line(problem, storage_options)}"
    ) from problem


def _load(uri: str, options: dict[str, str]) -> DeltaTable:
    try:
        return DeltaTable(uri, storage_options=options)
    except TableNotFoundError:
        raise
    except Exception as error:
        raise OutputError(f"{shown(uri)}: cannot be opened: {one_line(error, options)}") from error


def _check_writable(uri: str) -> None:
    path = local_path(uri)
    if path is None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix=".weft-", suffix=".tmp"):
            pass
    except OSError as error:
        raise OutputError(f"{path}: cannot be written to: {error.strerror}") from None


def _check_empty(uri: str, storage_options: Mapping[str, str]) -> None:
    """Nothing of somebody else's: a first start that was killed leaves only what is ours."""
    try:
        fs, path = filesystem(uri, storage_options)
        found = fs.ls(path, detail=False) if fs.exists(path) else []
    except StorageError as error:
        raise OutputError(str(error)) from None
    except Exception as error:
        raise OutputError(
            f"{shown(uri)}: cannot be listed: {one_line(error, storage_options)}"
        ) from error
    names = sorted(name.rstrip("/").rpartition("/")[2] for name in found)
    ours = ("_delta_log", FOLDER, ".weft-")
    foreign = [name for name in names if name and not name.startswith(ours)]
    if foreign:
        raise OutputError(
            f"{shown(uri)}: holds something else ({', '.join(foreign[:3])}); choose an empty "
            "folder as output.uri"
        )
