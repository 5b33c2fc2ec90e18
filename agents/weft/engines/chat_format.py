"""OpenAI's chat format: requests to JSON bodies, and answers back. Pure.

Fields that no one set are left out, since many servers refuse what they do not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from weft.engines.base import ChatRequest, ChatResult
from weft.row import ChatMessage, ToolCall

SchemaMode = Literal["json_schema", "bare_json_schema", "json_object", "prompt"]
"""How a schema is asked for, from the strongest: the server constrains the reply to it, to it
without the bounds of its values, to any JSON, or the prompt only says so."""

SCHEMA_MODES: tuple[SchemaMode, ...] = ("json_schema", "bare_json_schema", "json_object", "prompt")

BOUNDS = frozenset(
    {"minLength", "maxLength", "pattern", "format", "minItems", "maxItems", "uniqueItems"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"minProperties", "maxProperties"}
)
"""Keywords that some servers refuse within a schema that they take without them."""


def body_of(
    request: ChatRequest,
    model: str,
    *,
    schema_mode: SchemaMode = "json_schema",
    max_tokens_field: str = "max_tokens",
) -> bytes:
    """The JSON body of a chat completion."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in request.messages],
    }
    if request.tools:
        body["tools"] = request.tools
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.max_tokens is not None:
        body[max_tokens_field] = request.max_tokens
    if request.stop:
        body["stop"] = request.stop
    if request.seed is not None:
        body["seed"] = request.seed
    if request.schema is not None:
        if schema_mode in ("json_schema", "bare_json_schema"):
            bare = schema_mode == "bare_json_schema"
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "reply",
                    "schema": without_bounds(request.schema) if bare else request.schema,
                    "strict": fits_strict_mode(request.schema),
                },
            }
        else:
            if schema_mode == "json_object":
                body["response_format"] = {"type": "json_object"}
            body["messages"] = with_schema_in_words(body["messages"], request.schema)
    return msgspec.json.encode(body)


def with_schema_in_words(
    messages: list[dict[str, Any]], schema: dict[str, Any]
) -> list[dict[str, Any]]:
    """The messages with the schema stated in the system message, which is made if there is none."""
    words = (
        "Answer with nothing but JSON that matches this JSON schema: "
        + msgspec.json.encode(schema).decode()
    )
    if messages and messages[0]["role"] == "system":
        first = {**messages[0], "content": f"{messages[0]['content']}\n\n{words}"}
        return [first, *messages[1:]]
    return [{"role": "system", "content": words}, *messages]


def bounds_of(schema: Any) -> frozenset[str]:
    """The bounds (`BOUNDS`) that the schema sets anywhere."""
    if not isinstance(schema, dict):
        return frozenset()
    return (BOUNDS & schema.keys()).union(*map(bounds_of, _parts(schema)))


def without_bounds(schema: Any) -> Any:
    """The schema without them."""
    if isinstance(schema, list):
        return [without_bounds(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key not in BOUNDS}
    for key in _NAMED & kept.keys():
        kept[key] = {name: without_bounds(part) for name, part in kept[key].items()}
    for key in _NESTED & kept.keys():
        kept[key] = without_bounds(kept[key])
    return kept


_NAMED = {"properties", "patternProperties", "$defs", "definitions"}
_NESTED = {"items", "prefixItems", "anyOf", "oneOf", "allOf", "additionalProperties"}


def _parts(schema: dict[str, Any]) -> Iterator[Any]:
    """The schemas right within a schema."""
    for key in _NAMED & schema.keys():
        yield from schema[key].values()
    for key in _NESTED & schema.keys():
        value = schema[key]
        yield from value if isinstance(value, list) else [value]


def fits_strict_mode(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes the schema: every object names all its properties as
    required and allows no others (platform documentation, "Structured outputs")."""
    if isinstance(schema, list):
        return all(fits_strict_mode(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(properties) != set(
            schema.get("required", ())
        ):
            return False
    return all(
        fits_strict_mode(part)
        for key in ("properties", "$defs", "definitions")
        for part in schema.get(key, {}).values()
    ) and all(fits_strict_mode(schema.get(key)) for key in ("items", "anyOf", "prefixItems"))


def _message(message: ChatMessage) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
        # Some servers refuse an empty text beside tool calls; null is what models themselves send.
        made["content"] = message.content or None
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        made["name"] = message.name
    return made


class _Function(msgspec.Struct):
    name: str
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Reply(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Reply
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None
    model: str | None = None


class NotACompletion(Exception):
    """The server's answer is not one of OpenAI's format; the text says how."""


_decoder = msgspec.json.Decoder(_Completion)


def result_of(answer: bytes, model: str) -> ChatResult:
    """The first choice of a completion. `model` names the model where the answer does not.

    Raises `NotACompletion`.
    """
    try:
        completion = _decoder.decode(answer)
    except msgspec.DecodeError as fault:
        raise NotACompletion(f"its answer is no chat completion: {fault}") from None
    if not completion.choices:
        raise NotACompletion("its answer has no choices")
    choice = completion.choices[0]
    reply = choice.message
    usage = completion.usage or _Usage()
    return ChatResult(
        message=ChatMessage(
            "assistant",
            content=reply.content or reply.refusal or "",
            tool_calls=[
                ToolCall(
                    id=call.id or f"call_{number}",
                    name=call.function.name,
                    arguments=_arguments(call.function.arguments),
                )
                for number, call in enumerate(reply.tool_calls or ())
            ],
        ),
        model=completion.model or model,
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=usage.completion_tokens or 0,
        finish_reason="refusal" if reply.refusal else choice.finish_reason or "",
    )


def _arguments(arguments: str | dict[str, Any] | None) -> str:
    if isinstance(arguments, dict):
        return msgspec.json.encode(arguments).decode()
    return arguments or "{}"
