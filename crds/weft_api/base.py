"""What every resource model is: camelCase outside, snake_case inside; nothing unknown is let in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

GROUP: Final = "weft.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final[Literal["weft.dev/v1alpha1"]] = "weft.dev/v1alpha1"


@dataclass(frozen=True)
class Rule:
    """A rule over the fields of one object, in CEL over `self`.

    The generator writes it into the CRD (`x-kubernetes-validations`), where the API server enforces
    it; `weft_api.rules` evaluates the very same text where no API server is. A rule that names
    `oldSelf` is about a change, and only the API server sees changes.
    """

    cel: str
    problem: str
    fix: str
    field: str = ""
    """The field under `self` that the message is about, as a dotted path; empty: `self`."""
    told_better: bool = False
    """A check in `weft_api.validation` finds the same and names the culprit."""

    @property
    def message(self) -> str:
        return f"{self.problem}; {self.fix}"

    def for_api_server(self) -> JsonDict:
        """An item of `x-kubernetes-validations`."""
        # A fieldPath has to be in the schema, and metadata never is.
        in_schema = self.field and not self.field.startswith("metadata.")
        path: JsonDict = {"fieldPath": f".{self.field}"} if in_schema else {}
        return {"rule": self.cel, "message": self.message, **path}

    @property
    def is_transition(self) -> bool:
        return "oldSelf" in self.cel


def immutable(problem: str, fix: str) -> JsonDict:
    """Schema keys of a field that cannot change once it is set."""
    rule: JsonDict = {"rule": "self == oldSelf", "message": f"{problem}; {fix}"}
    return {"x-kubernetes-validations": [rule]}


FREE_OBJECT: JsonDict = {"x-kubernetes-preserve-unknown-fields": True}
"""Schema keys of an object whose fields are not ours to know."""


def keyed_by(field: str) -> JsonDict:
    """Schema keys of a list whose items are told apart by `field`: no two alike, merged by it."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [field]}


class Model(BaseModel):
    """Base of everything that a manifest or a Plan is made of.

    Types are strict as they are in the API server: `replicas: "4"` is refused. Manifests are read
    with `by_name=False`, so that only the camelCase names count there.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        own = handler.resolve_ref_schema(result := handler(schema))
        if cls.rules:
            own["x-kubernetes-validations"] = [rule.for_api_server() for rule in cls.rules]
        return result
