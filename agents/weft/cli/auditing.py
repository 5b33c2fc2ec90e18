"""What `weft audit` does: the chain over an output, and the explanation of one row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as arrow_fs
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from pydantic import ValidationError

from weft.cli.audit_page import page_of
from weft.cli.audited_row import explained, text_of
from weft.cli.refused import FAILED, Refused, parted
from weft.cli.stored import Stored, decoded
from weft.data.audit import Audit, audit, digest_of
from weft.data.beside import Beside
from weft.data.errors import OutputError
from weft.data.layout import Properties, open_existing
from weft.data.retried import all_of
from weft.data.storage import absolute, delta_options, from_environment
from weft_api.plan import Plan

SHOWN = 50
"""Findings that are told one by one."""


def audit_output(uri: str, heads: Sequence[str], page: Path | None) -> None:
    """Prints what the walk over the chain finds. Raises `Refused`, with exit code 1 where rows are
    not those that were committed."""
    if page is not None:
        raise Refused("audit: --html is a row's page; name the row as well")
    try:
        found = _walked(uri)
    except OutputError as error:
        problem, fix = parted(str(error), "name the folder that weft run wrote to")
        raise Refused(f"audit: {problem}; {fix}") from None
    for finding in found.findings[:SHOWN]:
        place = f", place {finding.sequence:,}" if finding.sequence else ""
        print(f"{finding.kind}: {finding.what} (partition {finding.partition}{place})")
    if len(found.findings) > SHOWN:
        print(f"… and {len(found.findings) - SHOWN:,} more")
    unknown = [head for head in heads if not any(head in chain.links for chain in found.chains)]
    for head in unknown:
        print(f"head {head} is not in the chain: rows up to it were rewritten or removed")
    for chain in found.chains:
        back = f", {chain.put_back:,} put back by weft retry" if chain.put_back else ""
        print(f"partition {chain.partition}: {chain.rows:,} rows{back}, head {chain.head.link}")
    if found.findings or unknown:
        count = len(found.findings) + len(unknown)
        faults = "1 fault" if count == 1 else f"{count:,} faults"
        raise Refused(
            f"audit: {uri}: {faults} in {found.rows:,} rows; compare with a copy, or make the rows "
            "again",
            code=FAILED,
        )
    print(f"ok: {found.rows:,} rows are as they were committed; keep the heads elsewhere")


def audit_row(uri: str, row_id: str, page: Path | None) -> None:
    """Prints the row's explanation, or writes its page. Raises `Refused`."""
    try:
        stored = Stored(uri)
        raw = stored.as_stored(row_id)
        if raw is None:
            raise Refused(f"audit: {uri} has no row {row_id!r}; weft show {uri} shows one")
        plans = _plans(uri, raw)
    except OutputError as error:
        problem, fix = parted(str(error), "name the folder that weft run wrote to")
        raise Refused(f"audit: {problem}; {fix}") from None
    except (OSError, pa.ArrowException) as error:
        told = " ".join(str(error).split())[:200]
        raise Refused(
            f"audit: {uri}: cannot be read ({told}); weft audit {uri} tells which rows", code=FAILED
        ) from None
    whole = digest_of(raw) == (raw["chain"] or {}).get("digest")
    row = decoded(raw)
    if page is None:
        print(text_of(explained(row, plans, whole=whole)))
    else:
        title = f"{stored.pipeline}: {row['id']}"
        try:
            page.write_text(page_of(row, plans, whole=whole, title=title), encoding="utf-8")
        except OSError as error:
            raise Refused(f"--html {page}: {error.strerror}; choose another file") from None
        print(f"wrote {page}")
    if not whole:
        raise Refused(f"audit: row {raw['id']!r} is not what was committed", code=FAILED)


def _walked(uri: str) -> Audit:
    options = from_environment()
    where = absolute(uri)
    table: DeltaTable = open_existing(where, options)
    partitions = Properties.of(table, where).partitions
    files: Any = arrow_fs.PyFileSystem(DeltaStorageHandler(where, delta_options(where, options)))
    try:
        return audit(table, files, partitions=partitions, earlier=all_of(files))
    except (OSError, pa.ArrowException) as error:
        raise OutputError(f"{uri}: cannot be read: {' '.join(str(error).split())[:300]}") from None


def _plans(uri: str, raw: dict[str, Any]) -> dict[int, Plan]:
    """The plans that the row's hops ran by, as kept beside the output; those that are there."""
    beside = Beside(uri, from_environment())
    found: dict[int, Plan] = {}
    for generation in {hop["plan"] for hop in raw["provenance"] if hop["plan"]}:
        text = beside.read(f"plans/{generation:010}.json")
        if text is not None:
            try:
                found[generation] = Plan.from_json(text)
            except ValidationError:
                continue  # Of another version of Weft: the row's own record is all there is then.
    return found
