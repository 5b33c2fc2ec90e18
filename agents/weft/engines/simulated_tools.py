"""Which tool the simulator calls, if any, and with what arguments.

Pure and seeded. A tool is chosen by the words that its name and description share with the latest
turns; calls become rarer with each round, so that a loop of drafter and tools ends.
"""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from weft.engines.simulated_json import value_for
from weft.engines.simulated_text import Facts
from weft.row import ChatMessage, ToolCall

MOST_ROUNDS = 3
"""Rounds of tool calls per turn of the customer; after these the simulator always answers."""

_PART = re.compile(r"[a-z]{3,}")


def tool_call(
    messages: list[ChatMessage],
    tools: list[dict[str, Any]],
    facts: Facts,
    rate: float,
    chance: Random,
) -> ToolCall | None:
    """A call, or None. `rate` is the chance of one in the first round; each later round has a third
    of the one before. No call is made twice with the same arguments in one dialogue."""
    if not tools or facts.customer:
        return None
    rounds = 0
    for message in reversed(messages):
        if message.role == "user":
            break
        rounds += message.role == "tool"
    if rounds >= MOST_ROUNDS or chance.random() >= rate / 3**rounds:
        return None
    spoken = set(facts.words)
    spoken.update(_PART.findall(facts.topic.lower()))
    stems = {word[:5] for word in spoken}
    ranked = sorted(
        (tool.get("function", tool) for tool in tools),
        key=lambda function: -_overlap(function, stems) - chance.random() / 2,
    )
    made = {(call.name, call.arguments) for message in messages for call in message.tool_calls}
    for function in ranked:
        schema = function.get("parameters") or {"type": "object"}
        arguments = value_for({"type": "object", **schema}, facts, chance)
        text = json.dumps(arguments, ensure_ascii=False)
        if (function["name"], text) not in made:
            return ToolCall(
                id=f"call_{chance.getrandbits(64):016x}", name=function["name"], arguments=text
            )
    return None


def _overlap(function: dict[str, Any], stems: set[str]) -> int:
    named = set(_PART.findall(function["name"].lower()))
    described = set(_PART.findall(function.get("description", "").lower()))
    return 2 * len({word[:5] for word in named} & stems) + len(
        {word[:5] for word in described} & stems
    )
