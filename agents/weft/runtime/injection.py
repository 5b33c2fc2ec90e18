"""Rows that are handed in while a pipeline runs: taken one batch after the other, kept, and then
begun before the source's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec

from weft.data.errors import OutputError, SourceError, Superseded
from weft.data.injected import BadRows, InjectedRows, parse_rows
from weft_api.plan import Plan


class Taken(msgspec.Struct):
    """The answer of `POST /v1/rows`."""

    accepted: int
    """Rows that are kept now, and will be made."""
    known: list[str]
    """Ids that were there before; their rows were not taken again."""


class Injection:
    """`busy` while a batch is being kept: the run must not end then."""

    def __init__(
        self,
        rows: InjectedRows,
        call: Callable[[Callable[[], Any]], asyncio.Future[Any]],
        on_rows: Callable[[], None],
    ) -> None:
        """`call` runs what blocks in the table's thread; `on_rows`: there is more to begin."""
        self.rows = rows
        self.busy = 0
        self._call = call
        self._on_rows = on_rows
        self._lock = asyncio.Lock()

    async def take(
        self, body: bytes, priority: int | None, plan: Plan, *, within: float | None = None
    ) -> Taken:
        """`within`: seconds from now in which the rows are to be made. Raises `BadRows` with a line
        for each fault; nothing of the batch is accepted then."""
        if plan.output.target_rows is not None:
            raise BadRows(
                "this pipeline has an output.targetRows, which needs a source with a fixed order; "
                "put the rows into the source, or take targetRows out"
            )
        rows = parse_rows(
            body, plan.source, priority, None if within is None else time.time() + within
        )
        self.busy += 1
        try:
            async with self._lock:
                known: list[str] = await self._call(lambda: self.rows.append(rows))
        except (OutputError, SourceError, Superseded) as error:
            raise BadRows(f"the rows cannot be kept: {error}; hand them in again") from None
        finally:
            self.busy -= 1
        if len(known) < len(rows):
            self._on_rows()
        return Taken(len(rows) - len(known), known)
