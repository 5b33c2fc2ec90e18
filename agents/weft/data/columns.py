"""Finished rows as Arrow columns: one fixed schema, whatever the users' own types are.

What users may shape freely (source columns, the agents' fields, tool definitions, sampling, notes)
is JSON text, so no row can have a type that the table refuses. The dialogue and the provenance are
typed, because every row has them and people query them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec.structs import astuple

from weft.data import chain
from weft.data.chain import Link
from weft.protocol.writer import Finished
from weft.row import ChatMessage, Origin, Row, ToolCall, decode_row
from weft.segment import ModelCall, Segment, ToolTrace, Verdict, decode_segment
from weft_api.governance import SOURCE

STATUSES = ("accepted", "rejected", "dead")

_text, _whole, _real = pa.string(), pa.int64(), pa.float64()
_FUNCTION = pa.struct([("name", _text), ("arguments", _text)])
_CALL = pa.struct([("id", _text), ("type", _text), ("function", _FUNCTION)])
_MESSAGE = pa.struct(
    [
        ("role", _text),
        ("content", _text),
        ("tool_calls", pa.list_(_CALL)),
        ("tool_call_id", _text),
        ("name", _text),
    ]
)
_MODEL = pa.struct(
    [
        ("model", _text),
        ("seconds", _real),
        ("promptTokens", _whole),
        ("completionTokens", _whole),
        ("seed", _whole),
        ("sampling", _text),
        ("prompt", _text),
        ("finishReason", _text),
        ("message", _whole),
    ]
)
_TOOL = pa.struct(
    [
        ("callId", _text),
        ("name", _text),
        ("arguments", _text),
        ("result", _text),
        ("seconds", _real),
        ("error", _text),
        ("message", _whole),
        ("version", _text),
    ]
)
_VERDICT = pa.struct([("rule", _text), ("action", _text), ("counts", _text)])
_SEGMENT = pa.struct(
    [
        ("step", _text),
        ("pool", _text),
        ("instance", _text),
        ("revision", _text),
        ("image", _text),
        ("epoch", _whole),
        ("fork", _whole),
        ("hop", _whole),
        ("started", _real),
        ("seconds", _real),
        ("models", pa.list_(_MODEL)),
        ("tools", pa.list_(_TOOL)),
        ("notes", _text),
        ("wrote", pa.list_(_text)),
        ("plan", _whole),
        ("verdicts", pa.list_(_VERDICT)),
        ("branch", _whole),
    ]
)
_DEADLINE = pa.struct([("at", pa.timestamp("us", tz="UTC")), ("met", pa.bool_())])
_CHAIN = pa.struct([("sequence", _whole), ("digest", _text), ("link", _text)])

FILE_SCHEMA = pa.schema(
    [
        ("row", _whole),
        ("id", _text),
        ("reason", _text),
        ("messages", pa.list_(_MESSAGE)),
        ("tools", _text),
        ("source", _text),
        ("data", _text),
        ("provenance", pa.list_(_SEGMENT)),
        ("promptTokens", _whole),
        ("completionTokens", _whole),
        ("attempts", _whole),
        ("epoch", _whole),
        ("committed", pa.timestamp("us", tz="UTC")),
        ("deadline", _DEADLINE),
        ("chain", _CHAIN),
    ]
)
"""Columns of a data file. `tools`, `source`, `data`, and in the provenance `sampling`, `notes`
and `counts`, are JSON; `started` is Unix time and `seconds` a length of time, both in seconds.
`deadline` is null where the row had none; it is met when the last hop has ended by then."""

TABLE_SCHEMA = FILE_SCHEMA.append(pa.field("status", _text))
"""Columns of the table: `status` is the partition, so it stands in the folders' names."""

CHUNK_BYTES = 512 << 10
"""Encoded bytes converted at once. Fits the processor's cache: 4 MB cost a third more a row."""

_json = msgspec.json.Encoder().encode


def chunks(rows: Sequence[Finished], limit: int = CHUNK_BYTES) -> Iterator[list[Finished]]:
    """The rows in order, in pieces of about `limit` encoded bytes, one row at least."""
    chunk: list[Finished] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row.body) + sum(map(len, row.segments))
        if size >= limit:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def to_batch(
    rows: Sequence[Finished], committed: datetime, before: Link
) -> tuple[pa.RecordBatch, Link]:
    """One batch of `FILE_SCHEMA`, and the last row's link; `before`: that of the row before.

    Raises msgspec's and Arrow's errors for a damaged row."""
    moment = chain.microseconds(committed)
    contents: list[chain.Content] = []
    digests: list[str] = []
    links: list[Link] = []
    # All of one row before the next: what is made of it still lies in the processor's cache.
    for row in rows:
        body = decode_row(row.body)
        trace = _trace(row, body.origin, [decode_segment(segment) for segment in row.segments])
        content = chain.Content(
            row.row,
            body.id,
            row.status,
            row.reason,
            body.messages,
            _text_of(body.tools),
            _text_of(body.source),
            _text_of(body.data),
            trace,
            *_tokens(trace),
            row.attempts,
            row.epoch,
            moment,
            _deadline(row, trace),
        )
        digest = content.digest()
        before = chain.after(before, digest)
        contents.append(content)
        digests.append(digest)
        links.append(before)
    (
        keys,
        ids,
        _,  # The status is the file's.
        reasons,
        dialogues,
        tools,
        sources,
        data,
        traces,
        prompt_tokens,
        completion_tokens,
        attempts,
        epochs,
        moments,
        deadlines,
    ) = zip(*contents, strict=True)
    sequences, texts = zip(*links, strict=True)
    columns = [
        _ints(keys),
        _texts(ids),
        _texts(reasons),
        _messages(dialogues),
        _texts(tools),
        _texts(sources),
        _texts(data),
        _provenance(traces),
        _ints(prompt_tokens),
        _ints(completion_tokens),
        _ints(attempts),
        _ints(epochs),
        pa.array(moments, FILE_SCHEMA.field("committed").type),
        pa.array(deadlines, _DEADLINE),
        _struct(_CHAIN, _ints(sequences), _texts(digests), _texts(texts)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=FILE_SCHEMA), before


def _trace(row: Finished, origin: Origin | None, segments: list[Segment]) -> list[Segment]:
    """The row's segments, and before them what the source's gate has found."""
    if origin is None:
        return segments
    at_source = Segment(
        SOURCE,
        "",
        "",
        "",
        "",
        row.epoch,
        0,
        -1,
        origin.checked,
        0.0,
        notes={"digest": origin.digest},
        verdicts=origin.verdicts,
    )
    return [at_source, *segments]


def _deadline(row: Finished, trace: list[Segment]) -> tuple[int, bool] | None:
    """Microseconds since 1970, and whether it was met; as Arrow takes the struct."""
    if not row.deadline:
        return None
    ended = max((segment.started + segment.seconds for segment in trace), default=0.0)
    return round(row.deadline * 1e6), ended <= row.deadline


def salvage(rows: Sequence[Finished], committed: datetime) -> None:
    """Turn the rows that cannot be converted into dead letters, in place.

    A damaged row must neither stop the commit of the others nor get lost: what was its body is
    kept, as base64, in the field `body`."""
    for row in rows:
        try:
            to_batch([row], committed, Link(0, ""))
        except Exception as error:
            row.status = "dead"
            row.reason = f"could not be written as {row.reason or 'a finished row'}: {error}"
            kept = {"body": base64.b64encode(row.body).decode()}
            row.body = msgspec.msgpack.encode(Row(id=str(row.row), source={}, data=kept))
            row.segments = [segment for segment in row.segments if _readable(segment)]


def _readable(segment: bytes) -> bool:
    try:
        _provenance([[decode_segment(segment)]])
    except Exception:
        return False
    return True


def now() -> datetime:
    return datetime.now(UTC)


def _columns(items: Sequence[msgspec.Struct], kind: type[msgspec.Struct]) -> list[tuple[Any, ...]]:
    """The fields of the items as columns, in the order of the class."""
    columns = list(zip(*map(astuple, items), strict=True))
    return columns or [()] * len(kind.__struct_fields__)


def _texts(values: Iterable[str | None]) -> pa.Array:
    return pa.array(values, _text)


def _text_of(value: Any) -> str:
    return _json(value).decode()


def _json_texts(values: Iterable[dict[str, Any]]) -> pa.Array:
    return pa.array([_text_of(value) if value else "{}" for value in values], _text)


def _ints(values: Iterable[int | None]) -> pa.Array:
    return pa.array(values, _whole)


def _reals(values: Iterable[float]) -> pa.Array:
    return pa.array(values, _real)


def _struct(kind: pa.StructType, *columns: pa.Array) -> pa.StructArray:
    return pa.StructArray.from_arrays(list(columns), fields=list(kind))


def _lists(groups: Sequence[Sequence[Any]], values: pa.Array) -> pa.ListArray:
    """Lists of the groups' lengths over the values, which lie end to end."""
    offsets = np.zeros(len(groups) + 1, np.int32)
    if len(values):
        np.cumsum(np.fromiter(map(len, groups), np.int32, len(groups)), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _messages(dialogues: Sequence[Sequence[ChatMessage]]) -> pa.ListArray:
    messages = [message for dialogue in dialogues for message in dialogue]
    role, content, tool_calls, tool_call_id, name = _columns(messages, ChatMessage)
    flat = _struct(
        _MESSAGE,
        _texts(role),
        _texts(content),
        _lists(tool_calls, _calls([call for calls in tool_calls for call in calls])),
        _texts(tool_call_id),
        _texts(name),
    )
    return _lists(dialogues, flat)


def _calls(calls: Sequence[ToolCall]) -> pa.StructArray:
    identity, name, arguments = _columns(calls, ToolCall)
    function = _struct(_FUNCTION, _texts(name), _texts(arguments))
    return _struct(_CALL, _texts(identity), _texts(["function"] * len(calls)), function)


def _provenance(traces: Sequence[Sequence[Segment]]) -> pa.ListArray:
    segments = [segment for trace in traces for segment in trace]
    (
        *who,  # step, pool, instance, revision, image
        epoch,
        fork,
        hop,
        started,
        seconds,
        models,
        tools,
        notes,
        wrote,
        plan,
        verdicts,
        branch,
    ) = _columns(segments, Segment)
    flat = _struct(
        _SEGMENT,
        *map(_texts, who),
        _ints(epoch),
        _ints(fork),
        _ints(hop),
        _reals(started),
        _reals(seconds),
        _lists(models, _models([call for calls in models for call in calls])),
        _lists(tools, _tool_traces([call for calls in tools for call in calls])),
        _json_texts(notes),
        _lists(wrote, _texts([name for names in wrote for name in names])),
        _ints(plan),
        _lists(verdicts, _verdicts([verdict for found in verdicts for verdict in found])),
        _ints(branch),
    )
    return _lists(traces, flat)


def _models(calls: Sequence[ModelCall]) -> pa.StructArray:
    (
        model,
        seconds,
        prompt_tokens,
        completion_tokens,
        seed,
        sampling,
        prompt,
        finish_reason,
        message,
    ) = _columns(calls, ModelCall)
    return _struct(
        _MODEL,
        _texts(model),
        _reals(seconds),
        _ints(prompt_tokens),
        _ints(completion_tokens),
        _ints(seed),
        _json_texts(sampling),
        _texts(prompt),
        _texts(finish_reason),
        _ints(message),
    )


def _tool_traces(calls: Sequence[ToolTrace]) -> pa.StructArray:
    call_id, name, arguments, result, seconds, error, message, version = _columns(calls, ToolTrace)
    return _struct(
        _TOOL,
        _texts(call_id),
        _texts(name),
        _texts(arguments),
        _texts(result),
        _reals(seconds),
        _texts(error),
        _ints(message),
        _texts(version),
    )


def _verdicts(verdicts: Sequence[Verdict]) -> pa.StructArray:
    rule, action, counts = _columns(verdicts, Verdict)
    return _struct(_VERDICT, _texts(rule), _texts(action), _json_texts(counts))


def _tokens(trace: Sequence[Segment]) -> tuple[int, int]:
    """Of the prompts and of the replies."""
    prompt = completion = 0
    for segment in trace:
        for call in segment.models:
            prompt += call.prompt_tokens
            completion += call.completion_tokens
    return prompt, completion
