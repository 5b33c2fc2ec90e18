"""Forms of asking for a schema: what is refused is asked for in a weaker one, and remembered."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from weft.engines.chat_format import SCHEMA_MODES, bounds_of, fits_strict_mode, without_bounds
from weft.engines.schema_modes import MOST_REMEMBERED, SchemaModes

JUDGED = {
    "type": "object",
    "properties": {
        "score": {"type": "integer", "minimum": 1, "maximum": 10},
        "pattern": {"type": "string", "maxLength": 800},
        "tags": {"type": "array", "items": {"anyOf": [{"enum": ["a"]}, {"format": "date"}]}},
    },
    "required": ["score", "pattern", "tags"],
    "additionalProperties": False,
}


def other(number: int) -> dict[str, Any]:
    return {"type": "object", "properties": {f"field{number}": {"type": "string"}}}


def test_bounds_are_found_and_taken_out_where_they_are_bounds() -> None:
    assert bounds_of(JUDGED) == {"minimum", "maximum", "maxLength", "format"}
    bare = without_bounds(JUDGED)
    assert bounds_of(bare) == set()
    assert bare["properties"] == {
        "score": {"type": "integer"},
        "pattern": {"type": "string"},
        "tags": {"type": "array", "items": {"anyOf": [{"enum": ["a"]}, {}]}},
    }
    assert fits_strict_mode(bare)
    assert bounds_of(JUDGED)


def test_a_bound_that_is_refused_costs_the_bound_and_not_the_schema() -> None:
    modes = SchemaModes("it")
    text = "Invalid schema for response_format 'reply': 'maxLength' is not permitted"
    assert modes.refused(JUDGED, "json_schema", text)
    assert modes.of(JUDGED) == "bare_json_schema"
    assert modes.of(other(1)) == "json_schema"


def test_each_further_refusal_leads_to_the_next_weaker_form_and_then_to_none() -> None:
    modes = SchemaModes("it")
    text = "response_format: maxLength is not supported"
    seen = []
    while modes.refused(JUDGED, mode := modes.of(JUDGED), text):
        seen.append(mode)
    assert [*seen, modes.of(JUDGED)] == list(SCHEMA_MODES)


def test_a_refusal_for_another_reason_changes_nothing() -> None:
    modes = SchemaModes("it")
    assert not modes.refused(JUDGED, "json_schema", "the context length is 2048 tokens")
    assert modes.of(JUDGED) == "json_schema"


def test_after_two_schemas_the_endpoint_is_not_asked_for_a_third_in_vain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    modes = SchemaModes("it")
    with caplog.at_level(logging.WARNING):
        for number in (1, 2):
            assert modes.of(other(number)) == "json_schema"
            assert modes.refused(other(number), "json_schema", "response_format is unknown")
    assert modes.of(other(3)) == "json_object"
    assert [record.getMessage() for record in caplog.records] == [
        "it refused response_format json_schema (response_format is unknown); "
        "asking by json_object from now on"
    ]


def test_a_form_that_was_taken_once_stays_the_usual_one() -> None:
    modes = SchemaModes("it")
    modes.took("json_schema")
    for number in (1, 2, 3):
        assert modes.refused(other(number), "json_schema", "this schema is too deep")
    assert modes.of(other(4)) == "json_schema"
    assert modes.of(other(3)) == "json_object"


def test_a_refusal_that_comes_late_does_not_make_the_form_stronger_again() -> None:
    modes = SchemaModes("it")
    assert modes.refused(JUDGED, "json_schema", "no json_schema here")
    assert modes.refused(JUDGED, "json_object", "no json_object here")
    assert modes.refused(JUDGED, "json_schema", "no json_schema here")
    assert modes.of(JUDGED) == "prompt"


def test_what_is_remembered_is_bounded() -> None:
    modes = SchemaModes("it")
    modes.took("json_schema")
    for number in range(2 * MOST_REMEMBERED):
        modes.refused(other(number), "json_schema", "no such schema")
    assert len(modes._known) == MOST_REMEMBERED
