"""The CRDs' own CEL rules, evaluated where no API server does it.

Rules about changes (`oldSelf`) are left out: only the API server sees the old object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from pydantic.fields import FieldInfo

from weft_api.base import Model, Rule
from weft_api.errors import ManifestError, Path
from weft_api.evaluator import cel
from weft_api.meta import Resource

TWICE = Rule("", "is there twice", "give each its own name")
"""Keys of a list-map differ; the API server holds that by itself."""


def rule_faults(*resources: Resource) -> Iterator[tuple[Rule, ManifestError]]:
    """The rules that do not hold, with the field that each is about."""
    for resource in resources:
        yield from _walk(resource, resource, ())


def _walk(resource: Resource, model: Model, path: Path) -> Iterator[tuple[Rule, ManifestError]]:
    for rule in _broken(model):
        field = tuple(rule.field.split(".")) if rule.field else ()
        yield rule, resource.fault((*path, *field), rule.problem, rule.fix)
    for name, info in type(model).model_fields.items():
        value, inner = getattr(model, name), (*path, info.alias or name)
        if isinstance(value, Model):
            yield from _walk(resource, value, inner)
        elif isinstance(value, list):
            yield from _twice(resource, info, value, inner)
            for at, item in enumerate(value):
                if isinstance(item, Model):
                    yield from _walk(resource, item, (*inner, at))


def _broken(model: Model) -> list[Rule]:
    """All rules of a model at once, over what they name: to hand a whole manifest to CEL costs ten
    times what the rules do."""
    rules, program, named = _compiled(type(model))
    if not rules:
        return []
    seen = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    holds = program.execute({"self": _only(seen, named)})
    return [rule for rule, held in zip(rules, holds, strict=True) if held is not True]


@cache
def _compiled(model: type[Model]) -> tuple[Sequence[Rule], Any, Sequence[Path]]:
    """(rules, their list as a program, the paths under `self` that they name)."""
    rules = [rule for rule in model.rules if not rule.is_transition]
    named = [tuple(path.split(".")[1:]) for rule in rules for path in _UNDER_SELF.findall(rule.cel)]
    return rules, cel.compile(f"[{', '.join(rule.cel for rule in rules)}]"), named


_UNDER_SELF: Final = re.compile(r"\bself((?:\.[a-zA-Z_]\w*)*)")


def _only(value: Any, paths: Sequence[Path]) -> Any:
    """What the paths lead to; whole where one ends, and where the value is no mapping."""
    if () in paths or not isinstance(value, Mapping):
        return value
    wanted: dict[Any, list[Path]] = {}
    for first, *rest in paths:
        wanted.setdefault(first, []).append(tuple(rest))
    return {key: _only(value[key], rest) for key, rest in wanted.items() if key in value}


def _twice(
    resource: Resource, info: FieldInfo, items: list[Any], path: Path
) -> Iterator[tuple[Rule, ManifestError]]:
    extra = info.json_schema_extra
    keys = extra.get("x-kubernetes-list-map-keys") if isinstance(extra, dict) else None
    if not isinstance(keys, list):
        return
    key, seen = str(keys[0]), set()
    for at, item in enumerate(items):
        value = getattr(item, key)
        if value in seen:
            problem = f'"{value}" {TWICE.problem}'
            yield TWICE, resource.fault((*path, at, key), problem, TWICE.fix)
        seen.add(value)
