"""Preference pairs from the answers that were not kept: `prompt`, `chosen`, `rejected`.

The form is TRL's conversational one (DPO and its like): three lists of messages, and `tools` where
the dialogue had any. `prompt` is the dialogue before the answer; `chosen` is what stands there now,
with the calls of tools that led to the answer; `rejected` is the answer that a validator or a
reviewer thought worse. A row gives as many pairs as it has such answers. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa

from weft.data.columns import FILE_SCHEMA
from weft.data.shapes import messages_of
from weft.row import REJECTED_ANSWERS

COLUMNS = ["id", "messages", "tools", "data"]
"""Columns of the table that a pair is made from."""
_MESSAGES = FILE_SCHEMA.field("messages").type
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", _MESSAGES),
        ("chosen", _MESSAGES),
        ("rejected", _MESSAGES),
        ("tools", pa.string()),
        ("reason", pa.string()),
        ("score_chosen", pa.float64()),
        ("score_rejected", pa.float64()),
    ]
)
"""`tools` is JSON; the scores are the judge's, null without one."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_json = msgspec.json.Encoder().encode


def pairs_of(row: dict[str, Any], *, objects: bool = False) -> Iterator[dict[str, Any]]:
    """The pairs of one row of the table (with `COLUMNS`), in the order of their rejection.

    `objects`: as in `shapes.messages_of`."""
    data = _decode(row["data"])
    messages = row["messages"]
    for rejected in data.get(REJECTED_ANSWERS) or []:
        at = rejected["message"]
        end = _answer_from(messages, at)
        if not at or end is None or messages[end]["content"] == rejected["content"]:
            continue
        last = end == _answer_from(messages, len(messages) - 1)
        yield {
            "id": row["id"],
            "prompt": messages_of(messages[:at], objects=objects),
            "chosen": messages_of(messages[at : end + 1], objects=objects),
            "rejected": [{"role": "assistant", "content": rejected["content"]}],
            "tools": row["tools"],
            "reason": rejected.get("reason", ""),
            "score_chosen": data.get("score") if last else None,
            "score_rejected": rejected.get("score"),
        }


def _answer_from(messages: list[dict[str, Any]], at: int) -> int | None:
    """The first answer at or after this place; None where the user speaks before."""
    for index in range(at, len(messages)):
        message = messages[index]
        if message["role"] == "user":
            return None
        if message["role"] == "assistant" and not message["tool_calls"]:
            return index
    return None


def to_json(pair: dict[str, Any]) -> bytes:
    """One line of JSON Lines, without its end."""
    return _json({**pair, "tools": msgspec.Raw(pair["tools"].encode())})


def to_arrow(pairs: list[dict[str, Any]]) -> pa.RecordBatch:
    """The pairs as a batch of `SCHEMA`."""
    return pa.RecordBatch.from_pylist(pairs, schema=SCHEMA)
