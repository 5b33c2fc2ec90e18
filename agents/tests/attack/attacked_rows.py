"""Rows as the attacked pipeline's agents would have left them, for tables with planted faults."""

from __future__ import annotations

from collections.abc import Iterable

from weft.attack.expected import LARGE_BYTES, fate_of
from weft.attack.pipeline import row_id
from weft.protocol.writer import Finished
from weft.row import ChatMessage, Row, encode_row
from weft.segment import Segment, encode_segment


def segments_of(number: int) -> list[Segment]:
    """The row's whole way, a second a hop, without a fault."""
    return [
        Segment(step, step, f"{step}-0", "r1", "", 1 << 16, 0, hop, 1e9 + hop, 0.5)
        for hop, step in enumerate(fate_of(number).path)
    ]


def finished(
    number: int, segments: Iterable[Segment] | None = None, *, status: str = "", reason: str = ""
) -> Finished:
    """The row with its end. Of `segments` and `status`: what they are instead of what is right."""
    fate = fate_of(number)
    done = fate.path[:-1] if fate.status == "dead" else fate.path
    row = Row(row_id(number), {"number": number}, {"trail": done, "next": fate.after(len(done))})
    row.messages = [ChatMessage("assistant", f"hop {hop} in {it}") for hop, it in enumerate(done)]
    if fate.large and done:
        row.data["large"] = "x" * LARGE_BYTES
    if fate.status == "dead":
        reason = reason or "ValueError: this row is poison (attempt 2 of 2)"
    hops = [encode_segment(hop) for hop in segments or segments_of(number)]
    return Finished(number, status or fate.status, reason, encode_row(row), hops, 1, 1)
