"""Finished rows for the tests of the output: dialogues with tool calls, and their segments."""

from __future__ import annotations

import random
from collections.abc import Iterable

from weft.protocol.writer import Finished
from weft.row import ChatMessage, Row, ToolCall, encode_row
from weft.segment import ModelCall, Segment, ToolTrace, encode_segment

_chance = random.Random(1)
_WORDS = ["".join(_chance.choices("abcdefghijklmnopqrstuvwxyz", k=n % 9 + 2)) for n in range(4000)]
LOOKUP = {
    "type": "function",
    "function": {
        "name": "lookup_order",
        "description": "Looks an order up by its number.",
        "parameters": {"type": "object", "properties": {"order": {"type": "string"}}},
    },
}


def text(length: int) -> str:
    words = " ".join(_chance.choices(_WORDS, k=length // 5 + 1))
    return words[:length]


def dialogue(number: int, *, turns: int = 4, length: int = 60) -> Row:
    """User, assistant that calls a tool, the tool's answer, assistant; and so on."""
    row = Row(
        id=f"ticket-{number}",
        source={"product": "lamp", "customer": f"Ann {number}", "tags": ["a", "b"]},
        data={"verdict": "accept", "score": number % 10},
        tools=[LOOKUP],
    )
    for turn in range(turns):
        role = ("user", "assistant", "tool", "assistant")[turn % 4]
        message = ChatMessage(role, text(length))
        if turn % 4 == 1:
            arguments = f'{{"order": "{number}"}}'
            message.tool_calls = [ToolCall(f"call-{number}-{turn}", "lookup_order", arguments)]
        if turn % 4 == 2:
            message.tool_call_id, message.name = f"call-{number}-{turn - 1}", "lookup_order"
        row.messages.append(message)
    return row


def trace(number: int, *, hops: int = 4) -> list[Segment]:
    steps = ("drafter", "tools", "validator", "metadata")
    segments = []
    for hop in range(hops):
        step = steps[hop % 4]
        segment = Segment(
            step=step,
            pool=step,
            instance=f"{step}-0",
            revision="a1b2c3",
            image="registry.example/agents:1.4.0",
            epoch=1,
            fork=0,
            hop=hop,
            started=1790000000.0 + hop,
            seconds=0.25,
        )
        if step == "tools":
            call = f"call-{number}-1"
            segment.tools = [
                ToolTrace(call, "lookup_order", "{}", "it is on its way", 0.01, message=2)
            ]
        else:
            segment.models = [
                ModelCall(
                    "simulator",
                    0.2,
                    100,
                    20,
                    seed=number,
                    sampling={"temperature": 0.9},
                    prompt=f"{step}@0123456789ab",
                    finish_reason="stop",
                    message=hop,
                )
            ]
        segment.wrote = {"validator": ["verdict"], "metadata": ["score"]}.get(step, [])
        segments.append(segment)
    return segments


def finished(
    number: int, status: str = "accepted", *, turns: int = 4, length: int = 60, hops: int = 4
) -> Finished:
    return Finished(
        row=number,
        status=status,
        reason="" if status == "accepted" else f"because it was {status}",
        body=encode_row(dialogue(number, turns=turns, length=length)),
        segments=[encode_segment(segment) for segment in trace(number, hops=hops)],
        attempts=1,
        epoch=1,
    )


def batch(numbers: Iterable[int], status: str = "accepted") -> list[Finished]:
    return [finished(number, status) for number in numbers]
