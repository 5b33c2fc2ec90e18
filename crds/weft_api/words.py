"""Pydantic's errors in plain words: what is wrong with the value, and what to write instead."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from weft_api.base import Model
from weft_api.errors import Path, did_you_mean
from weft_api.flow import ENDS
from weft_api.patterns import IN_WORDS, TARGET


def in_words(model: type[BaseModel], detail: ErrorDetails) -> tuple[Path, str, str]:
    """One error of validating `model` -> path, problem, fix."""
    path: Path = tuple(part for part in detail["loc"] if part != "[key]")
    kind, value, ctx = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return path, "is missing", _example(model, path)
    if kind == "extra_forbidden":
        siblings = _fields(_type_at(model, path[:-1]))
        return (
            path,
            "is no known field",
            did_you_mean(str(path[-1]), siblings, otherwise="remove it"),
        )
    if kind in _KIND_WORDS:
        fix = _retype(kind, value) or _example(model, path, verb="write")
        return path, f"must be {_KIND_WORDS[kind]}, not {describe(value)}", fix
    if kind == "literal_error":
        allowed = [str(item) for item in get_args(bare(_type_at(model, path)))]
        return path, f"{describe(value)} is not possible here", did_you_mean(str(value), allowed)
    if kind == "string_pattern_mismatch":
        if ctx.get("pattern") == TARGET and str(value).startswith("$"):
            return path, f"{describe(value)} is no end", did_you_mean(str(value), ENDS)
        words = IN_WORDS.get(str(ctx.get("pattern")), f"match {ctx.get('pattern')}")
        return path, f"{describe(value)} must {words}", _example(model, path, verb="write")
    if kind in _BOUNDS:
        word, key, unit, fix = _BOUNDS[kind]
        bound = f"{ctx[key]:g}"
        return path, f"must {word} {bound}{unit}, {_size(kind, value)}", fix.format(bound)
    if kind in ("duration", "quantity"):
        problem, fix = detail["msg"].split("; ", 1)
        return path, f"{describe(value)} {problem}", fix
    return path, f"{describe(value)}: {detail['msg']}", _example(model, path, verb="write")


_KIND_WORDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping (fields with values)",
    "model_type": "a mapping (fields with values)",
    "model_attributes_type": "a mapping (fields with values)",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than_equal": ("be at least", "ge", "", "write {} or more"),
    "less_than_equal": ("be at most", "le", "", "write {} or less"),
    "string_too_long": ("have at most", "max_length", " characters", "shorten it"),
    "string_too_short": ("have at least", "min_length", " character", "write something"),
    "too_long": ("have at most", "max_length", " items", "remove some"),
    "too_short": ("have at least", "min_length", " item", "add one"),
}


def describe(value: Any) -> str:
    """A value as people see it in the file: `the text "4"`, `a list`, `nothing`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f'"{value if len(value) <= 60 else value[:59] + "…"}"'
    return "a list" if isinstance(value, list | tuple) else "a mapping"


def _size(kind: str, value: Any) -> str:
    return f"it has {len(value)}" if kind.endswith(("long", "short")) else f"it is {value}"


def _retype(kind: str, value: Any) -> str | None:
    """What to do about a value of the wrong type, where the two types tell."""
    if kind == "string_type" and isinstance(value, bool | int | float):
        text = str(value).lower() if isinstance(value, bool) else value
        return f'put it in quotes: "{text}"'
    if kind in ("int_type", "float_type", "bool_type") and isinstance(value, str):
        return "remove the quotes" if _is_number_or_bool(value) else None
    if kind == "list_type":
        return 'begin each item with "- "'
    if value is None:
        return "give it a value, or remove the line"
    return None


def _is_number_or_bool(text: str) -> bool:
    return text in ("true", "false") or text.lstrip("-").replace(".", "", 1).isdigit()


def _example(model: type[BaseModel], path: Path, *, verb: str = "add it") -> str:
    parent, name = _type_at(model, path[:-1]), path[-1]
    for field_name, info in _fields_of(parent).items():
        if name in (info.alias, field_name) and info.examples:
            return f"{verb}, for example {name}: {_flow(info.examples[0])}"
    return verb if verb != "write" else "change it"


def _flow(value: Any) -> str:
    """A value in YAML's one-line form."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _type_at(model: type[BaseModel], path: Path) -> Any:
    """The type that stands at a path; None where the schema does not say."""
    found: Any = model
    for part in path:
        found = bare(found)
        if isinstance(part, int):
            found = get_args(found)[0] if get_origin(found) is list else None
        else:
            fields = {info.alias or name: info for name, info in _fields_of(found).items()}
            found = fields[part].annotation if part in fields else None
    return bare(found)


def bare(annotation: Any) -> Any:
    """Without `Annotated` and `| None`."""
    while True:
        if get_origin(annotation) is typing.Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (typing.Union, types.UnionType):
            annotation = next(item for item in get_args(annotation) if item is not type(None))
        else:
            return annotation


def _fields_of(annotation: Any) -> Mapping[str, Any]:
    is_model = isinstance(annotation, type) and issubclass(annotation, Model)
    return annotation.model_fields if is_model else {}


def _fields(annotation: Any) -> list[str]:
    return [info.alias or name for name, info in _fields_of(annotation).items()]
