"""What `weft export` does around the export itself."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import get_args

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from weft.cli.refused import Refused, parted
from weft.cli.screen import screen
from weft.data.errors import ExportError, OutputError
from weft.data.export import ExportFormat, export
from weft.data.storage import from_environment

_SUFFIXES: dict[str, ExportFormat] = {".jsonl": "jsonl", ".parquet": "parquet"}


def export_to(
    uri: str, dest: str, chosen: str | None, *, status: str, objects: bool, overwrite: bool
) -> None:
    """Exports, and says what came of it. Raises `Refused`."""
    format = _format(dest, chosen)
    console = screen()
    columns = (TextColumn("exporting"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        ) as bar:
            task = bar.add_task("rows", total=None)
            done = export(
                uri,
                dest,
                format,
                storage_options=from_environment(),
                status=status,
                overwrite=overwrite,
                objects=objects,
                progress=lambda written, rows: bar.update(task, completed=written, total=rows),
            )
    except (ExportError, OutputError) as error:
        problem, fix = parted(str(error), "correct OUTPUT or DEST")
        raise Refused(f"export: {problem}; {fix}") from None
    what = "pairs" if format == "preference" else f"{status} rows"
    size = f"{done.bytes / 1e6:,.1f} MB"
    files = dest if len(done.files) == 1 else f"{dest} ({len(done.files)} files)"
    print(f"{done.rows:,} {what}, {size}: {files}")


def _format(dest: str, chosen: str | None) -> ExportFormat:
    for format in get_args(ExportFormat):
        if format == chosen:
            return format  # type: ignore[no-any-return]
    suffix = PurePosixPath(dest).suffix
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if not suffix or dest.endswith("/"):
        return "huggingface"
    raise Refused(f"export: {dest}: the suffix {suffix} tells no format; add --format")
