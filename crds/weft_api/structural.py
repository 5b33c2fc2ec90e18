"""Pydantic's JSON schema -> what a CRD may hold (Kubernetes' "structural schema").

Without references, titles and `null` alternatives; closed objects need no word, because the API
server refuses (or drops) what the schema does not name. Examples move into the descriptions, where
`kubectl explain` shows them. Patterns become rules, because a rule can say what is wrong and a
pattern answers with itself.
"""

from __future__ import annotations

import json
from typing import Any

from weft_api.patterns import IN_WORDS

Schema = dict[str, Any]

RULES = "x-kubernetes-validations"
_DROPPED = {"title", "examples", "$defs", "additionalProperties"}


def structural(schema: Schema) -> Schema:
    """The schema of one model, by itself."""
    return _node(schema, schema.get("$defs", {}))


def _node(node: Schema, defs: dict[str, Schema]) -> Schema:
    node = _merged(node, defs)
    out: Schema = {key: value for key, value in node.items() if key not in _DROPPED}
    if "const" in out:
        out["enum"] = [out.pop("const")]
    for bound, word in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if word in out:  # a number in JSON Schema, a word beside the bound in Kubernetes'
            out[bound], out[word] = out[word], True
    if out.get("default", ...) is None:
        del out["default"]
    if text := _description(node):
        out["description"] = text
    # The API server takes no rule over a value of two types: it cannot bound its cost.
    if "pattern" in out and out.get("type") == "string":
        rule = _pattern_rule(out.pop("pattern"), node)
        out[RULES] = [*out.get(RULES, []), rule]
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        out["additionalProperties"] = _node(values, defs)
    if "items" in node:
        out["items"] = _node(node["items"], defs)
    if "properties" in node:
        required = node.get("required", [])
        out["properties"] = {
            name: _property(inner, defs, required=name in required)
            for name, inner in node["properties"].items()
        }
    return out


def _property(node: Schema, defs: dict[str, Schema], *, required: bool) -> Schema:
    """An object that may be left out defaults to `{}` where something in it has a default: the API
    server fills in defaults only of objects that are there."""
    out = _node(node, defs)
    if not required and not _nullable(node) and "default" not in out and _has_defaults(out):
        out["default"] = {}
    return out


def _merged(node: Schema, defs: dict[str, Schema]) -> Schema:
    """With the reference, or the one alternative that is not null, in its place."""
    own = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    if "$ref" in node:
        return _merged(_combine(defs[node["$ref"].rsplit("/", 1)[1]], own), defs)
    if _nullable(node):
        (other,) = [item for item in node["anyOf"] if item.get("type") != "null"]
        return _merged(_combine(other, own), defs)
    return node


def _combine(inner: Schema, own: Schema) -> Schema:
    """A field's own keys win over those of its type, but rules of both hold."""
    both = [*inner.get(RULES, []), *own.get(RULES, [])]
    return {**inner, **own, **({RULES: both} if both else {})}


def _pattern_rule(pattern: str, node: Schema) -> Schema:
    examples = node.get("examples")
    example = f", such as {examples[0]}" if examples and isinstance(examples[0], str) else ""
    return {"rule": f"self.matches(r'{pattern}')", "message": f"must {IN_WORDS[pattern]}{example}"}


def _nullable(node: Schema) -> bool:
    return any(item.get("type") == "null" for item in node.get("anyOf", []))


def _has_defaults(node: Schema) -> bool:
    inner = node.get("properties", {}).values()
    return any("default" in item for item in inner)


def _description(node: Schema) -> str:
    text = " ".join(node.get("description", "").split())
    examples = node.get("examples")
    if not examples:
        return text
    example = examples[0]
    shown = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
    return f"{text} Example: {shown}"
