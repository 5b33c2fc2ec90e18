"""Objects out of files and folders, each with the file and lines that it stands in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weft_api import errors as faults
from weft_api.errors import ManifestError
from weft_api.yaml_lines import Document, YamlError, read_documents

SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 8 << 20
"""Largest file that is read; etcd takes objects of 1.5 MiB."""


@dataclass(frozen=True)
class Origin:
    """Where an object stands."""

    file: str
    document: Document

    def line(self, path: faults.Path = ()) -> int:
        return self.document.line(path)

    def at(self, path: faults.Path = ()) -> str:
        """`file:line`"""
        return f"{self.file}:{self.line(path)}"


@dataclass(frozen=True)
class Found:
    """An object as YAML gave it, with its origin."""

    origin: Origin
    obj: dict[str, Any]


def read_objects(paths: Iterable[str | Path], errors: list[ManifestError]) -> Iterator[Found]:
    """The objects of files and folders (not of sub-folders). What cannot be read goes to
    `errors`."""
    for path in paths:
        for file in _files(Path(path), errors):
            yield from _read(file, errors)


def _files(path: Path, errors: list[ManifestError]) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        problem = "is neither a file nor a folder" if path.exists() else "does not exist"
        errors.append(ManifestError(str(path), problem, "check the path"))
        return []
    # A kustomization says how manifests are put together and is none itself.
    files = sorted(
        file
        for file in path.iterdir()
        if file.suffix in SUFFIXES and file.is_file() and file.stem.lower() != "kustomization"
    )
    if not files:
        fix = f"name a folder with files that end in {', '.join(SUFFIXES)}"
        errors.append(ManifestError(str(path), "has no manifests", fix))
    return files


def _read(file: Path, errors: list[ManifestError]) -> Iterator[Found]:
    try:
        if file.stat().st_size > MAX_BYTES:
            errors.append(ManifestError(str(file), "is larger than 8 MiB", "name a manifest"))
            return
        for document in read_documents(file.read_text(encoding="utf-8-sig")):
            origin = Origin(str(file), document)
            if isinstance(document.value, dict):
                yield Found(origin, document.value)
            else:
                fix = "begin with apiVersion and kind, one field a line"
                errors.append(ManifestError(origin.at(), "is no object", fix))
    except YamlError as error:
        errors.append(ManifestError(f"{file}:{error.line}", error.problem, error.fix))
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        errors.append(ManifestError(f"{file}:{line}", "is no UTF-8 text", "save it as UTF-8"))
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        errors.append(ManifestError(str(file), problem, "check its permissions"))
