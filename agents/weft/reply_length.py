"""How long a reply that fits a JSON schema can be, so that no token limit cuts it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

DEEPEST = 24
"""Nesting after which a schema counts as one without a bound; recursive ones come here."""
SPARE_TOKENS = 32
"""Above a token for each character: a model may break lines."""
FEWEST_CHARACTERS = 3
"""To a token, in prose; English has four. Fewer tokens than this asks for may well cut a reply."""
NUMBER = 24
"""Characters of any 64-bit float; a whole number without limits counts as one."""


def longest_reply(schema: Any) -> int | None:
    """Characters of the longest JSON that fits, with a space after each `:` and `,`; None where
    the schema sets no bound. Escapes within strings count as what they stand for."""
    return _Reader(schema).longest(schema, 0)


def tokens_for(longest: int) -> int:
    """A limit that cuts no reply of so many characters."""
    return longest + SPARE_TOKENS


def may_be_cut(max_tokens: int | None, schema: Any) -> str:
    """What to tell somebody who has set a limit that replies by this schema may well exceed; else
    the empty string."""
    longest = longest_reply(schema)
    if max_tokens is None or longest is None or max_tokens >= longest / FEWEST_CHARACTERS:
        return ""
    return (
        f"{max_tokens} tokens may cut the reply, which can have {longest} characters; "
        f"leave it out, or give {tokens_for(longest)}"
    )


class _Reader:
    def __init__(self, root: Any) -> None:
        self._root = root

    def longest(self, schema: Any, depth: int) -> int | None:
        if not isinstance(schema, dict) or depth > DEEPEST:
            return None
        # Each keyword narrows what the others allow, so the tightest of the bounds holds.
        bounds = [
            self._of_values(schema),
            self._of_choices(schema, depth),
            self._of_types(schema, depth),
        ]
        if "$ref" in schema:
            bounds.append(self.longest(self._pointed_to(str(schema["$ref"])), depth + 1))
        bounds += [self.longest(part, depth + 1) for part in schema.get("allOf", ())]
        return min((bound for bound in bounds if bound is not None), default=None)

    def _of_values(self, schema: dict[str, Any]) -> int | None:
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        return max(map(_written, values)) if values else None

    def _of_choices(self, schema: dict[str, Any], depth: int) -> int | None:
        choices = schema.get("anyOf") or schema.get("oneOf") or ()
        return _all_bounded(max, [self.longest(one, depth + 1) for one in choices])

    def _of_types(self, schema: dict[str, Any], depth: int) -> int | None:
        kinds = schema.get("type", ())
        kinds = [kinds] if isinstance(kinds, str) else kinds
        return _all_bounded(max, [self._of_type(kind, schema, depth) for kind in kinds])

    def _of_type(self, kind: str, schema: dict[str, Any], depth: int) -> int | None:
        match kind:
            case "null" | "boolean":
                return len("false")
            case "integer" if "minimum" in schema and "maximum" in schema:
                return max(_written(int(schema["minimum"])), _written(int(schema["maximum"])))
            case "integer" | "number":
                return NUMBER
            case "string":
                return None if "maxLength" not in schema else schema["maxLength"] + 2
            case "array":
                return self._of_array(schema, depth)
            case "object":
                return self._of_object(schema, depth)
        return None

    def _of_array(self, schema: dict[str, Any], depth: int) -> int | None:
        first = [self.longest(one, depth + 1) for one in schema.get("prefixItems", ())]
        most = len(first) if schema.get("items") is False else schema.get("maxItems")
        if most is None:
            return None
        others = max(0, most - len(first))
        other = self.longest(schema.get("items"), depth + 1) if others else 0
        if other is None:
            return None
        inner = _all_bounded(sum, first) if first else 0
        return None if inner is None else 2 + inner + others * other + 2 * most

    def _of_object(self, schema: dict[str, Any], depth: int) -> int | None:
        if schema.get("additionalProperties") is not False or "patternProperties" in schema:
            return None
        properties = schema.get("properties", {})
        values = [self.longest(one, depth + 1) for one in properties.values()]
        inner = _all_bounded(sum, values) if values else 0
        return None if inner is None else 2 + inner + sum(_written(name) + 4 for name in properties)

    def _pointed_to(self, ref: str) -> Any:
        if not ref.startswith("#/"):
            return None
        found = self._root
        for part in ref[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        return found


def _all_bounded(join: Any, bounds: Iterable[int | None]) -> int | None:
    known = list(bounds)
    return None if not known or None in known else int(join(known))


def _written(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False))
