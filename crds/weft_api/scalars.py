"""Durations and quantities: text in the manifest, with the number one property away."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from weft_api.patterns import DURATION, LABEL, PYTHON_PATH, QUANTITY

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

_FACTOR = {
    **{suffix: Decimal(1000) ** n for n, suffix in enumerate(["", "k", "M", "G", "T", "P", "E"])},
    **{f"{suffix}i": Decimal(1024) ** n for n, suffix in enumerate("KMGTPE", start=1)},
    "m": Decimal("0.001"),
}


class Duration(str):
    """A length of time as Go and Kubernetes write it: `500ms`, `5s`, `1h30m`."""

    __slots__ = ()

    @property
    def seconds(self) -> float:
        parts = re.findall(r"([0-9.]+)(ms|s|m|h)", self)
        return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)

    @classmethod
    def _parse(cls, value: Any) -> Duration:
        if isinstance(value, str) and len(value) <= 32 and re.fullmatch(DURATION, value):
            return cls(value)
        raise PydanticCustomError(
            "duration", "is no duration; write one such as 500ms, 5s or 1h30m"
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": DURATION, "maxLength": 32}


class Span(Duration):
    """A duration that is longer than nothing."""

    __slots__ = ()

    @classmethod
    def _parse(cls, value: Any) -> Span:
        span = cls(super()._parse(value))
        if span.seconds > 0:
            return span
        raise PydanticCustomError("duration", "is no time at all; write one such as 500ms or 5s")

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        rule = {
            "rule": "self.matches('[1-9]')",
            "message": "must be longer than nothing, such as 5s",
        }
        return {
            **super().__get_pydantic_json_schema__(schema, handler),
            "x-kubernetes-validations": [rule],
        }


class Quantity(str):
    """An amount as Kubernetes writes it: `256Mi`, `0.5`, `80Gi`, or a bare number."""

    __slots__ = ()

    @property
    def value(self) -> Decimal:
        match = re.match(r"([0-9.]+)([A-Za-z]*)", self)
        assert match is not None
        return Decimal(match[1]) * _FACTOR[match[2]]

    @property
    def bytes(self) -> int:
        return int(self.value)

    @classmethod
    def _parse(cls, value: Any) -> Quantity:
        text = (
            str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        )
        if isinstance(text, str) and len(text) <= 32 and re.fullmatch(QUANTITY, text):
            return cls(text)
        raise PydanticCustomError("quantity", "is no quantity; write one such as 256Mi, 0.5 or 2")

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY,
        }


Name = Annotated[str, StringConstraints(pattern=LABEL, min_length=1, max_length=40)]
"""The name of a step, prompt or pool: lower-case letters, digits and `-`, a letter first."""

ObjectName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", min_length=1, max_length=253),
]
"""The name of any Kubernetes object (DNS subdomain)."""

PythonPath = Annotated[
    str,
    StringConstraints(pattern=PYTHON_PATH, max_length=253),
]
"""`package.module:name`."""

Condition = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
"""A CEL expression over `row`."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=4096)]

Fraction = Annotated[float, Field(ge=0, le=1)]
