"""The CRDs' own CEL rules, evaluated where no API server does it.

Rules about changes (`oldSelf`) are left out: only the API server sees the old object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import cel
from pydantic.fields import FieldInfo

from weft_api.base import Model
from weft_api.errors import ManifestError, Path
from weft_api.meta import Resource


def rule_faults(*resources: Resource | Sequence[Resource]) -> Iterator[ManifestError]:
    for item in resources:
        for resource in [item] if isinstance(item, Resource) else item:
            yield from _walk(resource, resource, ())


def _walk(resource: Resource, model: Model, path: Path) -> Iterator[ManifestError]:
    for rule in model.rules:
        if not rule.is_transition and not _holds(rule.cel, model):
            field = tuple(rule.field.split(".")) if rule.field else ()
            yield resource.fault((*path, *field), rule.problem, rule.fix)
    for name, info in type(model).model_fields.items():
        value, inner = getattr(model, name), (*path, info.alias or name)
        if isinstance(value, Model):
            yield from _walk(resource, value, inner)
        elif isinstance(value, list):
            yield from _twice(resource, info, value, inner)
            for at, item in enumerate(value):
                if isinstance(item, Model):
                    yield from _walk(resource, item, (*inner, at))


def _holds(rule: str, model: Model) -> bool:
    seen = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return _compiled(rule).execute({"self": seen}) is True


@cache
def _compiled(rule: str) -> Any:
    return cel.compile(rule)


def _twice(
    resource: Resource, info: FieldInfo, items: list[Any], path: Path
) -> Iterator[ManifestError]:
    """Items of a keyed list that have the same key; the API server refuses them by itself."""
    extra = info.json_schema_extra
    keys = extra.get("x-kubernetes-list-map-keys") if isinstance(extra, dict) else None
    if not isinstance(keys, list):
        return
    key, seen = str(keys[0]), set()
    for at, item in enumerate(items):
        value = getattr(item, key)
        if value in seen:
            yield resource.fault(
                (*path, at, key), f'"{value}" is there twice', "give each its own name"
            )
        seen.add(value)
