"""A model's text in, the JSON value that it was asked for out; or one line that says what is wrong.

Pure. Models wrap JSON in fences and prose however they are asked; what is read here is the first
JSON value of the reply that stands alone, in a fence, or between other words, in this order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema
import msgspec
from pydantic import BaseModel, ValidationError

from weft.reply_length import longest_reply

MOST_FAULTS = 5
"""Faults of one reply that are told; more would not help the model, and fill its context."""

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_OPENING = re.compile(r"[\[{]")


class ReplyFault(Exception):
    """The reply is not what was asked for. The text goes to the model, so that it can repair it."""


class Shape:
    """What a reply must be: a JSON schema, or a pydantic model (then `read` returns an instance).

    Raises `ValueError` when the schema itself is not a JSON schema (draft 2020-12).
    """

    __slots__ = ("_check", "longest", "schema")

    def __init__(self, schema: dict[str, Any], check: Callable[[Any], Any]) -> None:
        self.schema = schema
        self.longest = longest_reply(schema)
        """Characters of the longest reply that fits; None where the schema sets no bound."""
        self._check = check

    @staticmethod
    def of(schema: dict[str, Any] | type[BaseModel]) -> Shape:
        """The shape, compiled once per schema."""
        if isinstance(schema, dict):
            return _of_schema(msgspec.json.encode(schema))
        return _of_model(schema)

    def read(self, text: str) -> Any:
        """The value in a reply's text. Raises `ReplyFault`."""
        return self._check(find_json(text))


def find_json(text: str) -> Any:
    """The JSON value in a model's reply. Raises `ReplyFault`."""
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError) as fault:
        problem = str(fault)
    if fenced := _FENCE.search(text):
        try:
            return _decoder.decode(fenced[1])
        except (ValueError, RecursionError) as fault:
            problem = str(fault)
    # Two tries bound the work: each failed one may scan the whole reply.
    for opening in islice(_OPENING.finditer(text), 2):
        try:
            return _decoder.raw_decode(text, opening.start())[0]
        except (ValueError, RecursionError) as fault:
            problem = str(fault)
    raise ReplyFault(f"the reply is not JSON: {problem}")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


# Python's decoder and not msgspec's: a value may stand between other words (`raw_decode`).
# Not strict: models, and grammars that guide them, let bare line breaks and tabs into strings.
_decoder = json.JSONDecoder(parse_constant=_refuse_constant, strict=False)


@lru_cache(maxsize=256)
def _of_schema(encoded: bytes) -> Shape:
    schema = json.loads(encoded)
    kind = jsonschema.Draft202012Validator
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as fault:
        raise ValueError(f"not a JSON schema: {fault.json_path}: {fault.message}") from None
    validator = kind(schema)

    def check(value: Any) -> Any:
        faults = [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(value)]
        if faults:
            raise ReplyFault(_told(faults))
        return value

    return Shape(schema, check)


@lru_cache(maxsize=256)
def _of_model(model: type[BaseModel]) -> Shape:
    def check(value: Any) -> Any:
        try:
            return model.model_validate(value)
        except ValidationError as fault:
            raise ReplyFault(
                _told(
                    [
                        f"$.{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
                        for error in fault.errors(include_url=False, include_input=False)
                    ]
                )
            ) from None

    return Shape(model.model_json_schema(), check)


def _told(faults: list[str]) -> str:
    shown = [fault if len(fault) <= 300 else fault[:299] + "…" for fault in faults[:MOST_FAULTS]]
    if more := len(faults) - MOST_FAULTS:
        shown += [f"and {more} more"] if more > 0 else []
    return "; ".join(shown)
