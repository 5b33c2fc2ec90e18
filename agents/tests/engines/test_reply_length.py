"""How long a reply that fits a schema can be: what a token limit is made from."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from weft.builtin.judge import Criterion, reply_schema
from weft.engines.simulated_json import value_for
from weft.engines.simulated_text import Facts
from weft.reply_length import longest_reply

WORD = {"type": "string", "maxLength": 8}
NOTHING_KNOWN = Facts("", "", "", "", (), False)


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("schema", "longest"),
    [
        ({"type": "string", "maxLength": 8}, '"12345678"'),
        ({"enum": ["a", "für", 12345678901]}, "12345678901"),
        ({"const": None}, "null"),
        ({"type": "boolean"}, "false"),
        ({"type": "integer", "minimum": -100, "maximum": 5}, "-100"),
        ({"type": ["null", "string"], "maxLength": 8}, '"12345678"'),
        ({"anyOf": [{"enum": [1]}, WORD]}, '"12345678"'),
        ({"allOf": [{"type": "string"}, WORD]}, '"12345678"'),
        ({"type": "string", "maxLength": 900, "enum": ["yes", "no"]}, '"yes"'),
        ({"$ref": "#/$defs/word", "$defs": {"word": WORD}}, '"12345678"'),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_the_longest_value_is_counted_exactly(schema: dict[str, Any], longest: str) -> None:
    assert longest_reply(schema) == len(longest)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "string"},
        {"type": "string", "pattern": "^a"},
        {"type": "object"},
        {"type": "object", "properties": {"a": WORD}},
        {"type": "array", "items": WORD},
        {"type": "array", "maxItems": 3},
        {"anyOf": [WORD, {"type": "string"}]},
        closed(a=WORD, b={"type": "string"}),
        {"$ref": "#/$defs/nowhere"},
        {
            "$ref": "#/$defs/tree",
            "$defs": {"tree": closed(next={"anyOf": [{"type": "null"}, {"$ref": "#/$defs/tree"}]})},
        },
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_where_the_schema_sets_no_bound_there_is_none(schema: Any) -> None:
    assert longest_reply(schema) is None


@pytest.mark.parametrize(
    "schema",
    [
        reply_schema(4),
        reply_schema(12, [Criterion(name="tone", description="x", least=3)]),
        closed(tags={"type": "array", "items": WORD, "maxItems": 5}, when=WORD, n={"enum": [1, 2]}),
        {"type": "array", "prefixItems": [WORD, {"type": "boolean"}], "items": False},
        closed(inner=closed(a=WORD, b={"type": "integer", "minimum": 0, "maximum": 99})),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_no_value_that_fits_is_longer(schema: dict[str, Any]) -> None:
    most = longest_reply(schema)
    assert most is not None
    sizes = [
        len(json.dumps(value_for(schema, NOTHING_KNOWN, Random(seed)), ensure_ascii=False))
        for seed in range(200)
    ]
    assert max(sizes) <= most
