"""Bytes of a message per hop against the turns of its dialogue, beside messages that carry all.

A message of Weft is its header and the row; what each hop did goes to the writer, once. Beside it
stand the same row with the record of every hop so far, and the same with the prompt of every model
call too, as chat frameworks do it that hand on their logs. All are encoded by a run's own
codec, so nothing here depends on the machine or its load.
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from weft.bench.figures import Figure, Result, at_most
from weft.bench.machine import cores, load
from weft.bench.plans import make_plan
from weft.engines import make_engine
from weft.protocol.message import Frame, Message, encode_frame
from weft.row import Row, decode_row, encode_row
from weft.runtime.hops import Hops, Identity, Passed, make_agent
from weft.segment import decode_segment

TURNS = (2, 4, 8, 16, 32, 64)
CHARS = 400
"""Of a turn: about 100 tokens."""
OVERHEAD = 128
"""Bytes that a message may have beside the dialogue's own text: header, names, fields."""
PER_TURN = 40
"""Bytes that it may have for each turn: a role, lengths, and the number of its trace segment."""

_encode = msgspec.msgpack.encode


class Size(msgspec.Struct):
    """Bytes at one number of turns."""

    turns: int
    text: int
    """The dialogue's own."""
    message: int
    """As Weft sends it."""
    records: int
    """The same with the records of all hops so far."""
    prompts: int
    """And with the prompt of each."""


def measure(console: Console, *, quick: bool = False) -> Result:
    """Sizes at each number of turns; the same whether quick or not."""
    before = load()
    sizes = asyncio.run(sizes_of(TURNS))
    figures = [
        Figure(
            f"{size.turns} turns: bytes of a message",
            float(size.message),
            "B",
            at_most(size.text + OVERHEAD + PER_TURN * size.turns),
            f"dialogue {size.text:,}; with all records {size.records:,}, with all prompts "
            f"too {size.prompts:,} ({size.prompts / size.message:.1f} ×)",
        )
        for size in sizes
    ]
    return Result(
        "messages",
        f"turns of {CHARS} characters by EchoAgent, a hop each, encoded as in a run",
        cores(),
        before,
        {"characters": float(CHARS)},
        figures,
    )


async def sizes_of(turns: tuple[int, ...]) -> list[Size]:
    """One dialogue, measured as it passes each number of turns."""
    plan = make_plan(
        "messages",
        Path("/out"),
        rows=1,
        in_flight=1,
        steps=[{"name": "echo", "next": [{"to": "$accept", "when": "row.done"}, {"to": "echo"}]}],
        pools={
            "echo": {
                "agent": "weft.builtin:EchoAgent",
                "config": {"chars": CHARS, "spread": 0, "maxTurns": max(turns)},
            }
        },
    )
    flow = plan.flow.model_copy(update={"max_hops": max(turns) + 1})
    plan = plan.model_copy(update={"flow": flow})
    engine = make_engine(plan.pool("echo").engine, seed=plan.seed, environ={})
    hops = Hops(plan, Identity("echo", "echo-0", "", ""), make_agent(plan, "echo"), engine)
    message = Message(0, 1, 0, 0, "echo", 0, encode_row(Row("0", {"index": 0})))
    sizes: list[Size] = []
    records: list[Any] = []
    prompts: list[Any] = []
    while True:
        row = decode_row(message.body)
        passed = await hops.handle(message)
        assert isinstance(passed, Passed), passed
        records.append(msgspec.to_builtins(decode_segment(passed.segment)))
        prompts.append(msgspec.to_builtins(row.messages))
        made = [*message.segments, 1, len(records)]
        message = Message(0, 1, 0, message.hop + 1, passed.to, 0, passed.body, made)
        after = decode_row(passed.body)
        count = len(after.messages)
        if count in turns:
            size = len(encode_frame(Frame(messages=[message])))
            more = len(_encode(records))
            text = sum(len(one.content.encode()) for one in after.messages)
            sizes.append(Size(count, text, size, size + more, size + more + len(_encode(prompts))))
        if count >= max(turns):
            return sizes


def svg(sizes: list[Size]) -> str:
    """The three curves over the turns, both axes logarithmic, as an SVG document."""
    width, height, left, bottom = 640, 400, 70, 50
    most = max(size.prompts for size in sizes)
    least = min(size.message for size in sizes)

    def x(turns: int) -> float:
        share = math.log(turns / sizes[0].turns) / math.log(sizes[-1].turns / sizes[0].turns)
        return left + share * (width - left - 150)

    def y(count: int) -> float:
        return (height - bottom) * (1 - math.log(count / least) / math.log(most / least)) + 20

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 20}" '
        'font-family="sans-serif" font-size="12">',
        f'<text x="{left}" y="14">bytes of a message after so many turns</text>',
    ]
    for size in sizes:
        at = f"{x(size.turns):.0f}"
        parts.append(f'<text x="{at}" y="{height}" text-anchor="middle">{size.turns}</text>')
    power = 10 ** math.ceil(math.log10(least))
    while power <= most:
        at = f"{y(power):.0f}"
        parts.append(f'<text x="{left - 8}" y="{at}" text-anchor="end">{power:,}</text>')
        parts.append(f'<path d="M{left} {at}H{width - 150}" stroke="#ddd"/>')
        power *= 10
    for name, colour, label in (
        ("message", "#0a7", "Weft"),
        ("records", "#c80", "with all records"),
        ("prompts", "#c33", "and all prompts"),
    ):
        points = [(x(size.turns), y(getattr(size, name))) for size in sizes]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        a, b = points[-1]
        parts.append(f'<text x="{a + 6:.0f}" y="{b + 4:.0f}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])
