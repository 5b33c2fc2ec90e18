"""The simulator: a deterministic stand-in for an LLM, with an LLM's slots, times and faults.

The same seed and the same request give the same reply, token counts and time, whatever else goes on
and in whatever process. With a median latency of 0 nothing sleeps and no slot is taken: a call then
costs what its text costs, some tens of microseconds.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import OrderedDict
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec

from weft.engines.base import ChatRequest, ChatResult, Engine, EngineError
from weft.engines.simulated_json import value_for
from weft.engines.simulated_replies import from_text, listed
from weft.engines.simulated_text import CHARACTERS_PER_TOKEN, Facts, facts_of, turn
from weft.engines.simulated_tools import tool_call
from weft.engines.slots import Slots
from weft.row import ChatMessage
from weft_api.engine import SimulatorEngine

HANG_SECONDS = 600.0
"""A hanging call gives up after this, since nothing may wait for ever."""

MOST_FAULTED = 65_536
"""Requests that are remembered as having met a fault; the oldest is forgotten first."""

_ASKS_FOR_JSON = re.compile(r"\bJSON\b")
_JSON_KEY = re.compile(r'"([A-Za-z_]\w{0,40})"\s*:\s*("([^"\n]*)"|\[|[\w.]+)?')
_FINAL_ANSWER = re.compile(r"####|final answer", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")

_ASKED = tuple(name for name in ChatRequest.__struct_fields__ if name != "urgency")
"""What a reply depends on."""

_encoder = msgspec.msgpack.Encoder()


class Simulator(Engine):
    """One simulated endpoint with `settings.slots` slots; the most urgent call has the next."""

    model = "simulator"

    def __init__(
        self, settings: SimulatorEngine, *, seed: int, hang_seconds: float = HANG_SECONDS
    ) -> None:
        self._settings = settings
        chosen = settings.seed if settings.seed is not None else seed
        self._key = (chosen % 2**64).to_bytes(8, "big")
        self._latency = settings.latency.median.seconds
        self._hang_seconds = hang_seconds
        faults = settings.faults
        self._faulty = bool(faults.error_rate or faults.rate_limit_rate or faults.hang_rate)
        self._faulted: OrderedDict[bytes, int] = OrderedDict()
        self._slots = Slots(settings.slots)

    @property
    def slots(self) -> int:
        """Calls that are worked on at once."""
        return self._settings.slots

    @property
    def busy_seconds(self) -> float:
        """Slot-seconds spent so far, calls under way included; see `Slots.busy_seconds`."""
        return self._slots.busy_seconds

    async def chat(self, request: ChatRequest, *, deviate: float | None = None) -> ChatResult:
        """`deviate`: standard normal, of length and time, where it is not to follow from what is
        asked."""
        asked = {name: getattr(request, name) for name in _ASKED}
        digest = blake2b(_encoder.encode(asked), digest_size=8, key=self._key).digest()
        chance = Random(int.from_bytes(digest, "big"))
        # One deviate drives length and time: long replies take long.
        drawn = chance.gauss(0.0, 1.0)
        deviate = drawn if deviate is None else deviate
        fault = self._fault(digest) if self._faulty else ""
        if self._latency <= 0 and fault != "hang":
            self._raise(fault)
            return self._reply(request, deviate, chance)
        if fault == "rate limit":
            # A full endpoint turns calls away at once, without working on them.
            self._raise(fault)
        await self._slots.take(request.urgency)
        try:
            if fault == "hang":
                await asyncio.sleep(self._hang_seconds)
            else:
                await asyncio.sleep(self.latency(deviate))
            self._raise(fault)
            return self._reply(request, deviate, chance)
        finally:
            self._slots.release()

    def latency(self, deviate: float) -> float:
        """Seconds for a reply at this standard normal deviate."""
        return self._latency * math.exp(self._settings.latency.sigma * deviate)

    def _fault(self, digest: bytes) -> str:
        """The fault that this call meets. A repeated request draws anew, so that trying again can
        help, as it does with a real endpoint."""
        met = self._faulted.get(digest, 0)
        drawn = Random(digest + self._key + bytes([met % 256])).random()
        faults = self._settings.faults
        for name, rate in (
            ("error", faults.error_rate),
            ("rate limit", faults.rate_limit_rate),
            ("hang", faults.hang_rate),
        ):
            if drawn < rate:
                self._faulted[digest] = met + 1
                self._faulted.move_to_end(digest)
                if len(self._faulted) > MOST_FAULTED:
                    self._faulted.popitem(last=False)
                return name
            drawn -= rate
        return ""

    def _raise(self, fault: str) -> None:
        if fault:
            told = {
                "error": "the endpoint failed (asked for by faults.errorRate)",
                "rate limit": "the endpoint is full (asked for by faults.rateLimitRate)",
                "hang": f"no answer in {self._hang_seconds:g} s (asked for by faults.hangRate)",
            }
            raise EngineError(f"simulator: {told[fault]}; try again", transient=True)

    def _json(self, schema: dict[str, Any], facts: Facts, chance: Random) -> str:
        text = json.dumps(value_for(schema, facts, chance), ensure_ascii=False)
        malformed = chance.random() < self._settings.faults.malformed_rate
        return text[: len(text) // 2] if malformed else text

    def _reply(self, request: ChatRequest, deviate: float, chance: Random) -> ChatResult:
        settings = self._settings
        prompt_tokens = sum(_tokens(message.content) + 4 for message in request.messages)
        wanted = max(1, round(settings.tokens.median * math.exp(settings.tokens.sigma * deviate)))
        facts = facts_of(request.messages)
        finish = "stop"
        message = ChatMessage("assistant")
        if request.schema is not None:
            message.content = self._json(request.schema, facts, chance)
        elif call := tool_call(
            request.messages, request.tools, facts, settings.tool_call_rate, chance
        ):
            message.tool_calls = [call]
            finish = "tool_calls"
        elif text := (
            (settings.replies and listed(request.messages, settings.replies, chance))
            or from_text(request.messages, settings.quote_rate, chance)
        ):
            message.content = text
        elif (asked := asked_for_json(request.messages)) is not None:
            message.content = self._json(asked, facts, chance)
        else:
            turns = sum(one.role == "assistant" for one in request.messages)
            earlier = [one.content for one in request.messages[-8:] if one.role == "assistant"]
            message.content = turn(facts, turns, wanted * CHARACTERS_PER_TOKEN, chance, earlier)
            message.content += _final_answer(request.messages, chance)
        for stop in request.stop:
            message.content = message.content.split(stop, 1)[0]
        if request.max_tokens is not None and _tokens(message.content) > request.max_tokens:
            message.content = message.content[: request.max_tokens * CHARACTERS_PER_TOKEN]
            finish = "length"
        completion = _tokens(message.content) + sum(
            _tokens(call.name + call.arguments) for call in message.tool_calls
        )
        return ChatResult(
            message=message,
            model=self.model,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion,
            finish_reason=finish,
        )


def asked_for_json(messages: list[ChatMessage]) -> dict[str, Any] | None:
    """The schema of the JSON that the instructions or the last turn sketch in words; None if none.

    `{"verdict": "accept|revise|reject", "score": 1}` asks for an enum and an integer.
    """
    for message in (messages[-1], messages[0]) if messages else ():
        text = message.content
        if message.role not in ("system", "user") or not _ASKS_FOR_JSON.search(text):
            continue
        properties: dict[str, Any] = {}
        for name, value, quoted in _JSON_KEY.findall(text):
            properties[name] = _sketched(name, value, quoted)
        if properties:
            return {"type": "object", "properties": properties, "required": list(properties)}
    return None


def _sketched(name: str, value: str, quoted: str) -> dict[str, Any]:
    if "|" in quoted:
        return {"enum": [one.strip() for one in quoted.split("|")]}
    if value in ("true", "false", "bool", "boolean"):
        return {"type": "boolean"}
    if value == "[":
        return {"type": "array", "items": {"type": "string"}}
    if (value and value[0].isdigit()) or "score" in name or "rating" in name:
        return {"type": "integer", "minimum": 1, "maximum": 10}
    return {"type": "string"}


def _final_answer(messages: list[ChatMessage], chance: Random) -> str:
    """Where a marked answer is asked for, one that is made of the question's own numbers."""
    if not messages or not _FINAL_ANSWER.search(messages[0].content + messages[-1].content):
        return ""
    numbers = [int(one) for one in _NUMBER.findall(messages[-1].content)[:8]] or [1]
    first, second = chance.choice(numbers), chance.choice(numbers)
    return f"\n#### {chance.choice((first + second, first * second, abs(first - second)))}"


def _tokens(text: str) -> int:
    return (len(text) + CHARACTERS_PER_TOKEN - 1) // CHARACTERS_PER_TOKEN
