"""Trace segments: what one hop did to a row, recorded by the agent that did it.

A segment travels once, straight from the agent to the writer of its row. The message carries only
segment ids, so its size does not grow with the history of calls.
"""

from __future__ import annotations

from typing import Any

import msgspec


class ModelCall(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """One call of an LLM. Times in seconds, lengths in tokens."""

    model: str
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    seed: int | None = None
    sampling: dict[str, Any] = {}
    prompt: str = ""
    """`name@version` of the prompt it was asked with, where one was used."""
    finish_reason: str = ""
    message: int = -1
    """Index in the dialogue of the message that came of it; -1 where none did."""


class ToolTrace(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """One execution of a tool: `error` is empty when it worked. Times in seconds."""

    call_id: str
    name: str
    arguments: str
    result: str
    seconds: float
    error: str = ""
    message: int = -1
    """Index in the dialogue of the `tool` message that carries the result."""
    version: str = ""


class Verdict(msgspec.Struct, array_like=True, gc=False):
    """What one governance rule has found in the texts of one hop; never the texts."""

    rule: str
    action: str
    """`redact`, `reject`, `tag`, or `failed` where the rule could not be evaluated."""
    counts: dict[str, int]
    """How often, by kind: an entity, `term`, `pattern-1`, `perMessage` (in tokens) and so on."""


class Segment(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """All that one hop did. `started` is Unix time in seconds."""

    step: str
    pool: str
    instance: str
    """The pod on a cluster, `pool-N` on a laptop."""
    revision: str
    image: str
    epoch: int
    fork: int
    hop: int
    started: float
    seconds: float
    models: list[ModelCall] = []
    tools: list[ToolTrace] = []
    notes: dict[str, Any] = {}
    """What the agent itself recorded with `ctx.record(name, value)`."""
    wrote: list[str] = []
    """Names of the row's fields (`row.data`) that this hop set."""
    plan: int = 0
    """Generation of the plan that the hop ran by."""
    verdicts: list[Verdict] = []
    """Of the governance rules that found something, in their order."""
    branch: int = 0
    """Number, from 1, of the branch of a divided row that made the hop; 0 for the whole row."""


encode_segment = msgspec.msgpack.Encoder().encode
decode_segment = msgspec.msgpack.Decoder(Segment).decode
