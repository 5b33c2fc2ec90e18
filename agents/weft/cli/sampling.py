"""`weft run --dry-run`: some rows made for real, in this process, and nothing written."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import islice

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from weft.cli import units
from weft.cli.checks import Checked
from weft.cli.estimate import Estimate, Range, Sampled, estimate
from weft.cli.refused import FAILED, Refused
from weft.cli.screen import screen
from weft.data.source import SourceRow, read
from weft.data.storage import from_environment
from weft.protocol.writer import STATUS_OF
from weft.row import Row, encode_row
from weft.segment import encode_segment
from weft.testing import Rows, Walked
from weft_api.plan import Plan

SAMPLE = 20
DRAWN_FROM = 10_000
"""First rows of the source, among which the sample is drawn by the plan's seed."""


def dry_run(checked: Checked, sample: int, rows: int | None) -> None:
    """Print what the whole source will take. Raises `Refused` where no row can be made."""
    plan = checked.plan
    chosen = _drawn(plan, sample)
    if not chosen:
        raise Refused(
            "run --dry-run: the source's first rows cannot be used; weft validate says why"
        )
    try:
        walked = asyncio.run(_walk(plan, chosen))
    except Exception as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise Refused(f"run --dry-run: no row could be made: {told}", code=FAILED) from None
    sampled = [_sampled(*each) for each in zip(walked, _stored_bytes(walked), strict=True)]
    found = estimate(plan, sampled, rows or checked.rows)
    screen().print(_table(found, walked))


def _drawn(plan: Plan, sample: int) -> list[SourceRow]:
    limit = min(DRAWN_FROM, plan.source.limit or DRAWN_FROM)
    first = [row for row in islice(read(plan.source, from_environment()), limit) if not row.error]
    picked = random.Random(plan.seed).sample(range(len(first)), min(sample, len(first)))
    return [first[at] for at in sorted(picked)]


async def _walk(plan: Plan, chosen: list[SourceRow]) -> list[Walked]:
    async with Rows(plan) as rows:
        walks = [
            rows.run(Row(each.id, each.columns), number=number)
            for number, each in enumerate(chosen)
        ]
        return list(await asyncio.gather(*walks))


def _sampled(walked: Walked, stored: float) -> Sampled:
    seconds: dict[str, float] = {}
    tokens: dict[str, tuple[int, int]] = {}
    for segment in walked.segments:
        seconds[segment.pool] = seconds.get(segment.pool, 0.0) + segment.seconds
        prompt, completion = tokens.get(segment.pool, (0, 0))
        for call in segment.models:
            prompt, completion = prompt + call.prompt_tokens, completion + call.completion_tokens
        tokens[segment.pool] = (prompt, completion)
    return Sampled(walked.end, seconds, tokens, stored)


def _stored_bytes(walked: list[Walked]) -> list[float]:
    """Of each row in the table: bodies and records compressed as its files are, all together as in
    a large file, and shared out by what each takes alone."""
    texts = [
        encode_row(each.row) + b"".join(encode_segment(segment) for segment in each.segments)
        for each in walked
    ]
    alone = [len(pa.compress(text, codec="zstd", asbytes=True)) for text in texts]
    together = len(pa.compress(b"".join(texts), codec="zstd", asbytes=True))
    return [together * size / sum(alone) for size in alone]


def _table(found: Estimate, walked: list[Walked]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for heading in ("estimate", "", "most likely between"):
        table.add_column(heading)
    ends = [each.end for each in walked]
    made = ", ".join(f"{ends.count(end)} {STATUS_OF[end]}" for end in STATUS_OF if end in ends)
    table.add_row("sample", f"{found.sample} rows made: {made}", "")
    _add(table, "rows/s", found.rows_per_second, units.rate, f" (set by {found.bottleneck})")
    _add(table, "accepted", found.accepted, lambda share: f"{share:.0%}")
    _add(table, "tokens/row", found.tokens_per_row, lambda n: f"{n:,.0f}")
    rows = "unknown number of rows" if found.rows is None else f"{found.rows:,} rows"
    table.add_row(Text(f"for {rows}", "bold"), "", "")
    if found.seconds is not None:
        _add(table, "time", found.seconds, units.seconds)
    if found.bytes is not None:
        _add(table, "storage", found.bytes, _bytes)
    if found.rows is not None:
        per_row = found.tokens_per_row
        of_all = Range(*(each * found.rows for each in (per_row.value, per_row.low, per_row.high)))
        _add(table, "tokens", of_all, lambda n: units.count(round(n)))
    if found.cost is not None:
        _add(table, "cost", found.cost, lambda amount: f"{amount:,.2f}")
    for end, reason in {(each.end, each.reason) for each in walked if each.reason}:
        table.add_row(Text(STATUS_OF[end], "yellow"), Text(reason[:120]), "")
    return table


def _add(table: Table, name: str, of: Range, shown: Callable[[float], str], more: str = "") -> None:
    table.add_row(name, f"{shown(of.value)}{more}", f"{shown(of.low)} and {shown(of.high)}")


def _bytes(amount: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} TiB"
