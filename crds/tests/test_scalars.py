"""Durations and quantities mean what they mean in Kubernetes."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from weft_api.scalars import Duration, Quantity, Span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("5s", 5), ("1h30m", 5400), ("1.5m", 90), ("1m30s250ms", 90.25), ("0s", 0)],
)
def test_durations_count_seconds(text: str, seconds: float) -> None:
    assert TypeAdapter(Duration).validate_python(text).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["5", "5 s", "-5s", "s", "5s\n", "5d", "", 5, None, "1" * 40 + "s"]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="is no duration"):
        TypeAdapter(Duration).validate_python(text)


def test_a_span_is_longer_than_nothing() -> None:
    assert TypeAdapter(Span).validate_python("1ms").seconds == 0.001
    with pytest.raises(ValidationError, match="no time at all"):
        TypeAdapter(Span).validate_python("0h0m")


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("256Mi", 256 << 20),
        ("1G", 10**9),
        (2, 2),
        ("2", 2),
        (1.0, 1),
        ("1.5Ki", 1536),
        ("1E", 10**18),
    ],
)
def test_quantities_count_units(value: object, amount: int) -> None:
    assert TypeAdapter(Quantity).validate_python(value).bytes == amount


def test_a_fraction_of_a_core_is_kept() -> None:
    assert float(TypeAdapter(Quantity).validate_python("250m").value) == 0.25


@pytest.mark.parametrize("value", ["256MB", "-1", "1 Gi", "", "Gi", True, None, [1], -1])
def test_what_is_no_quantity_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="is no quantity"):
        TypeAdapter(Quantity).validate_python(value)
