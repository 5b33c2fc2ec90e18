"""What a table's rows say of themselves, counted: for the dataset card, and for typed exports.

Only the columns that are asked for are read, a batch at a time; counting is done by Arrow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

_MOST_NESTED = 64
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class ModelUse(msgspec.Struct, frozen=True):
    """One way in which a step asked a model."""

    step: str
    pool: str
    model: str
    prompt: str
    """`name@version`, or empty."""
    sampling: str
    """JSON."""


class Work(msgspec.Struct, frozen=True):
    """One revision of a pool's agents at a step."""

    step: str
    pool: str
    revision: str
    image: str


class Survey(msgspec.Struct):
    """Counts over the rows of one status."""

    rows: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unpaired: int = 0
    """Rows with a `tool` message that answers no call before it."""
    work: Counter[Work] = msgspec.field(default_factory=Counter)
    """Hops."""
    models: Counter[ModelUse] = msgspec.field(default_factory=Counter)
    """Calls."""
    tools: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    """(step, tool) -> executions."""
    writers: dict[str, Counter[tuple[str, str]]] = {}
    """Field -> (step, pool) -> hops that set it."""
    authors: dict[str, Counter[tuple[str, str]]] = {}
    """Role of messages -> (step, model or tool) -> messages."""
    columns: dict[str, pa.DataType] = {}
    """The source's columns. A type is `null` where no row has a value."""
    fields: dict[str, pa.DataType] = {}
    """The agents' fields."""


COLUMNS = ["messages", "source", "data", "provenance", "promptTokens", "completionTokens"]


def take_in(survey: Survey, batch: pa.RecordBatch) -> None:
    """Add a batch that has `COLUMNS`."""
    survey.rows += batch.num_rows
    survey.prompt_tokens += pc.sum(batch["promptTokens"]).as_py() or 0
    survey.completion_tokens += pc.sum(batch["completionTokens"]).as_py() or 0
    _take_types(survey.columns, batch["source"])
    _take_types(survey.fields, batch["data"])
    _take_provenance(survey, batch["provenance"])
    survey.unpaired += sum(not paired(messages) for messages in _calls_and_answers(batch))


def paired(messages: list[dict[str, Any]]) -> bool:
    """Whether each `tool` message answers a call of a message before it."""
    called: set[str] = set()
    for message in messages:
        if message["role"] == "tool" and message["tool_call_id"] not in called:
            return False
        called.update(call["id"] for call in message["tool_calls"] or ())
    return True


def column_type(values: list[Any]) -> pa.DataType:
    """The Arrow type that holds all values; text (of JSON) where they are too different."""
    if all(value is None for value in values):
        return pa.null()
    try:
        inferred = pa.array(values).type
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return pa.string()
    return inferred if _is_usual(inferred) else pa.string()


def united(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that holds what both hold."""
    if one == other:
        return one
    schemas = [pa.schema([("value", kind)]) for kind in (one, other)]
    try:
        both = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()
    return both if _is_usual(both) else pa.string()


def _is_usual(kind: pa.DataType) -> bool:
    """Not a struct of everything, and no numbers beyond 63 bits, which fit no negative ones."""
    return _width(kind) <= _MOST_NESTED and "uint64" not in str(kind)


def _width(kind: pa.DataType) -> int:
    """Leaves of the type. An empty struct counts as too many: Parquet has none."""
    if pa.types.is_struct(kind):
        return sum(_width(field.type) for field in kind) or _MOST_NESTED + 1
    if pa.types.is_list(kind):
        return _width(kind.value_type)
    return 1


def _take_types(types: dict[str, pa.DataType], texts: pa.Array) -> None:
    values: dict[str, list[Any]] = {}
    for text in texts.to_pylist():
        for name, value in _decode(text).items():
            values.setdefault(name, []).append(value)
    for name, found in values.items():
        kind = column_type(found)
        types[name] = united(types[name], kind) if name in types else kind


def _calls_and_answers(batch: pa.RecordBatch) -> Iterator[list[dict[str, Any]]]:
    """The messages' part that pairing is about, without their texts."""
    messages = batch["messages"]
    flat = messages.flatten()
    slim = pa.StructArray.from_arrays(
        [flat.field("role"), flat.field("tool_calls"), flat.field("tool_call_id")],
        names=["role", "tool_calls", "tool_call_id"],
    )
    yield from pa.ListArray.from_arrays(_offsets(messages), slim).to_pylist()


def _offsets(lists: pa.ListArray) -> pa.Array:
    return pc.subtract(lists.offsets, lists.offsets[0])


def _count(table: pa.Table) -> Iterator[tuple[dict[str, Any], int]]:
    if not table.num_rows:
        return
    names = table.column_names
    for row in table.group_by(names).aggregate([([], "count_all")]).to_pylist():
        yield {name: row[name] for name in names}, row["count_all"]


def _take_provenance(survey: Survey, provenance: pa.ListArray) -> None:
    segments = provenance.flatten()
    place = {name: segments.field(name) for name in ("step", "pool", "revision", "image")}
    for key, count in _count(pa.table(place)):
        survey.work[Work(**key)] += count

    models = segments.field("models")
    of_model = pc.list_parent_indices(models)
    calls = models.flatten()
    asked = pa.table(
        {
            "step": place["step"].take(of_model),
            "pool": place["pool"].take(of_model),
            **{name: calls.field(name) for name in ("model", "prompt", "sampling")},
        }
    )
    for key, count in _count(asked):
        survey.models[ModelUse(**key)] += count
    _take_authors(survey, "assistant", asked.select(["step", "model"]), calls.field("message"))

    tools = segments.field("tools")
    of_tool = pc.list_parent_indices(tools)
    runs = tools.flatten()
    ran = pa.table({"step": place["step"].take(of_tool), "tool": runs.field("name")})
    for key, count in _count(ran):
        survey.tools[(key["step"], key["tool"])] += count
    _take_authors(survey, "tool", ran, runs.field("message"))

    wrote = segments.field("wrote")
    of_field = pc.list_parent_indices(wrote)
    set_by = pa.table(
        {
            "field": wrote.flatten(),
            "step": place["step"].take(of_field),
            "pool": place["pool"].take(of_field),
        }
    )
    for key, count in _count(set_by):
        who = survey.writers.setdefault(key["field"], Counter())
        who[(key["step"], key["pool"])] += count


def _take_authors(survey: Survey, role: str, who: pa.Table, message: pa.Array) -> None:
    """Calls that led to a message. Of what role that message is, the kind of call tells."""
    for key, count in _count(who.filter(pc.greater_equal(message, 0))):
        step, name = key.values()
        survey.authors.setdefault(role, Counter())[(step, name)] += count
