"""The chain over the committed rows of a writer partition: what makes tampering evident.

Each row has a `digest`, SHA-256 over its canonical content, its `sequence` in the partition, and a
`link`, SHA-256 over the link before it and its own digest. So the link of a commit's last row (the
head, which stands in the commit's metadata too) depends on every row committed before it. Whoever
changes a row changes its digest; who mends that breaks the link; who mends all the links after it
comes to another head than the one that was kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import msgspec

from weft.row import ChatMessage
from weft.segment import Segment

VERSION = 2
"""Of the canonical content; it is part of it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_S = TypeVar("_S", bound=msgspec.Struct)
_json = msgspec.json.Encoder().encode


class Link(NamedTuple):
    """The place of a row in the chain. `link` is 64 hex digits."""

    sequence: int
    """Counts the partition's rows from 1; 0 is before the first."""
    link: str


class Content(NamedTuple):
    """All that is committed of a row, but for its place in the chain; the order is that of the
    canonical form. JSON columns are the texts that are stored."""

    row: int
    id: str
    status: str
    reason: str
    messages: Sequence[ChatMessage]
    tools: str
    source: str
    data: str
    provenance: Sequence[Segment]
    prompt_tokens: int
    completion_tokens: int
    attempts: int
    epoch: int
    committed: int
    """Microseconds since 1970."""
    deadline: tuple[int, bool] | None
    """Microseconds since 1970, and whether it was met."""

    def digest(self) -> str:
        """SHA-256 (hex) over the fields as a JSON array, messages and segments as arrays too."""
        return sha256(_json((VERSION, *self))).hexdigest()


def beginning(table_id: str, partition: int) -> Link:
    """What the first row of a partition is linked to: a chain cannot be moved to another table."""
    return Link(0, sha256(f"weft chain {VERSION}\n{table_id}\n{partition}".encode()).hexdigest())


def after(before: Link, digest: str) -> Link:
    """The link of the row that comes next."""
    text = f"{before.link}{digest}"
    return Link(before.sequence + 1, sha256(text.encode()).hexdigest())


def microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def content_of(stored: dict[str, Any]) -> Content:
    """The content of a row as it was read back from the table (`to_pylist`). Raises `TypeError`,
    `KeyError` or msgspec's errors for what Weft cannot have written."""
    return Content(
        stored["row"],
        stored["id"],
        stored["status"],
        stored["reason"],
        [_message(message) for message in stored["messages"]],
        stored["tools"],
        stored["source"],
        stored["data"],
        [_segment(segment) for segment in stored["provenance"]],
        stored["promptTokens"],
        stored["completionTokens"],
        stored["attempts"],
        stored["epoch"],
        microseconds(stored["committed"]),
        (microseconds(due["at"]), due["met"]) if (due := stored["deadline"]) else None,
    )


def _message(stored: dict[str, Any]) -> ChatMessage:
    calls = [
        {"id": call["id"], "name": call["function"]["name"], **_arguments(call)}
        for call in stored["tool_calls"]
    ]
    return _as(ChatMessage, {**stored, "tool_calls": calls})


def _arguments(call: dict[str, Any]) -> dict[str, str]:
    return {"arguments": call["function"]["arguments"]}


def _segment(stored: dict[str, Any]) -> Segment:
    fields = {**stored, "notes": _value(stored["notes"])}
    fields["models"] = [
        {**_snake(call), "sampling": _value(call["sampling"])} for call in stored["models"]
    ]
    fields["tools"] = [_snake(call) for call in stored["tools"]]
    fields["verdicts"] = [
        {**verdict, "counts": _value(verdict["counts"])} for verdict in stored["verdicts"]
    ]
    return _as(Segment, fields)


def _as(kind: type[_S], fields: dict[str, Any]) -> _S:
    """The struct of these fields by name; array-like ones are read from arrays."""
    return msgspec.convert(_array(kind, fields), kind)


def _array(kind: Any, fields: dict[str, Any]) -> list[Any]:
    values = []
    for name, inner, default in _fields(kind):
        # A table that an earlier Weft made lacks the newest fields, as its digests do.
        value = fields[name] if default is msgspec.NODEFAULT else fields.get(name, default)
        values.append([_array(inner, item) for item in value] if inner else value)
    return values


@cache
def _fields(kind: Any) -> list[tuple[str, Any, Any]]:
    """Each field's name, the struct that a list field holds (None for other fields), and its
    default. Kept, since resolving the annotations costs more than all else of an audit."""
    return [
        (field.name, _item_of(field.type), field.default) for field in msgspec.structs.fields(kind)
    ]


def _item_of(kind: Any) -> Any:
    if get_origin(kind) is not list:
        return None
    (inner,) = get_args(kind)
    return inner if issubclass(inner, msgspec.Struct) else None


def _snake(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in name): value
        for name, value in stored.items()
    }


def _value(text: str) -> Any:
    return msgspec.json.decode(text)
