"""A row of the table as a row of the dataset that people train from.

`messages` and `tools` are as fine-tuning takes them (OpenAI's chat format; `arguments` is JSON as
text). Beside them stand the row's id, the agents' fields and the source's columns, each as a column
of its own. A field hides a source column of its name, as it does for the agents; a column that has
the name of one of the dataset's own gets the prefix `source_`.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from weft.data.columns import FILE_SCHEMA
from weft.data.errors import ExportError
from weft.data.storage import one_line
from weft.data.survey import Survey

OWN = ("id", "messages", "tools", "reason")
"""Columns that every dataset has; `reason` only where the rows were not accepted."""
COLUMNS = ["id", "messages", "tools", "source", "data", "reason"]
"""Columns of the table that a dataset's row is made from."""

_json = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Column(msgspec.Struct, frozen=True):
    """A column of the dataset that is not one of its own."""

    name: str
    origin: str
    """`source` or `data`: where in the row its value stands."""
    key: str
    """Name of the value there."""
    type: pa.DataType


def columns_of(survey: Survey) -> list[Column]:
    """The agents' fields, then the source's columns, each by name."""
    fields = [
        Column(_free(name, "data"), "data", name, _definite(kind))
        for name, kind in sorted(survey.fields.items())
    ]
    sources = [
        Column(_free(name, "source"), "source", name, _definite(kind))
        for name, kind in sorted(survey.columns.items())
        if name not in survey.fields
    ]
    return fields + sources


def _free(name: str, prefix: str) -> str:
    return f"{prefix}_{name}" if name in OWN else name


def _definite(kind: pa.DataType) -> pa.DataType:
    """The type with text where no row told one (only nulls, only empty lists)."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_definite(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _definite(field.type)) for field in kind])
    return kind


def to_json(
    row: dict[str, Any], columns: list[Column], *, with_reason: bool, objects: bool = False
) -> bytes:
    """One line of JSON Lines, without its end. `row` has `COLUMNS`.

    A message has only the keys that mean something there. Values are as they were, whatever their
    type; a column that the row does not have is null."""
    messages = messages_of(row["messages"], objects=objects)
    shaped: dict[str, Any] = {"id": row["id"], "messages": messages}
    shaped["tools"] = msgspec.Raw(row["tools"].encode())
    if with_reason:
        shaped["reason"] = row["reason"]
    values = {"data": _decode(row["data"]), "source": _decode(row["source"])}
    for column in columns:
        shaped[column.name] = values[column.origin].get(column.key)
    return _json(shaped)


def messages_of(messages: list[dict[str, Any]], *, objects: bool = False) -> list[dict[str, Any]]:
    """The messages with only the keys that mean something there.

    `objects`: a call's `arguments` become the object that their text says, as most chat templates
    of `transformers` take them (OpenAI's own form is the text)."""
    shaped = []
    for message in messages:
        kept = {"role": message["role"], "content": message["content"]}
        for name in ("tool_calls", "tool_call_id", "name"):
            if message[name]:
                kept[name] = message[name]
        if objects and message["tool_calls"]:
            kept["tool_calls"] = [_with_object(call) for call in message["tool_calls"]]
        shaped.append(kept)
    return shaped


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = _decode(function["arguments"])
    except msgspec.MsgspecError:
        return call  # What the model wrote is no JSON object; the tool has answered so.
    return {**call, "function": {**function, "arguments": arguments}}


def arrow_schema(columns: list[Column], *, with_reason: bool) -> pa.Schema:
    """The typed dataset's schema. `tools` is JSON, because each tool's schema has its own type."""
    fields = [FILE_SCHEMA.field(name) for name in ("id", "messages", "tools")]
    if with_reason:
        fields.append(FILE_SCHEMA.field("reason"))
    return pa.schema(fields + [pa.field(column.name, column.type) for column in columns])


def to_arrow(batch: pa.RecordBatch, columns: list[Column], schema: pa.Schema) -> pa.RecordBatch:
    """The batch (of `COLUMNS`) in the typed dataset's schema."""
    values = {
        "data": [_decode(text) for text in batch["data"].to_pylist()],
        "source": [_decode(text) for text in batch["source"].to_pylist()],
    }
    own = [batch[name] for name in schema.names[: len(schema) - len(columns)]]
    typed = [
        _typed([row.get(column.key) for row in values[column.origin]], column) for column in columns
    ]
    return pa.RecordBatch.from_arrays(own + typed, schema=schema)


def _typed(values: list[Any], column: Column) -> pa.Array:
    if pa.types.is_string(column.type):
        texts = [
            value if value is None or isinstance(value, str) else _json(value).decode()
            for value in values
        ]
        return pa.array(texts, column.type)
    if pa.types.is_floating(column.type):
        values = [None if value is None else float(value) for value in values]
    try:
        return pa.array(values, column.type)
    except (pa.ArrowException, OverflowError) as error:
        raise ExportError(
            f"column {column.name!r}: a value does not fit {column.type} ({one_line(error)}); "
            "export as jsonl, or give the column one type"
        ) from error
