"""What a prompt cannot do without: found when the manifest is read, and not row by row."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes

from weft.prompts.render import fields_used
from weft.prompts.sandbox import Sandbox

_METHODS = frozenset(dir(dict))
"""`row` is a dict in templates: `row.items()` names no field."""
_sandbox = Sandbox()


def fields_needed(text: str) -> frozenset[str]:
    """The names of `row` that the template fails without.

    Left out are those that it asks after (`row.x is defined`) or has a default for
    (`row.x | default(…)`), and all where it uses the row as a whole. Raises
    `jinja2.TemplateSyntaxError`."""
    used = fields_used(text)
    if used is None:
        return frozenset()
    return used - _METHODS - set(_optional(_sandbox.parse(text)))


def _optional(tree: nodes.Template) -> Iterator[str]:
    for test in tree.find_all(nodes.Test):
        if test.name in ("defined", "undefined"):
            yield from _field(test.node)
    for applied in tree.find_all(nodes.Filter):
        if applied.name in ("default", "d") and applied.node is not None:
            yield from _field(applied.node)


def _field(node: nodes.Node) -> Iterator[str]:
    if isinstance(node, nodes.Getattr):
        yield node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        yield str(node.arg.value)
