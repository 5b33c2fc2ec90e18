"""What templates may use. Whatever is not listed here is refused.

Left out on purpose: what can make a large value out of a small one without passing our checks
(`center`, `ljust`, `format`, `%`), what runs patterns over text (`urlize`, `striptags`), what draws
random values (a rendering must come out the same again), and what reaches into objects (`attr`).
"""

from __future__ import annotations

from jinja2 import nodes


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FILTERS = _words(
    """abs batch capitalize d default dictsort escape e first float groupby indent int items join
    last length count list lower map max min reject rejectattr replace reverse round select
    selectattr slice sort string sum title tojson trim truncate unique upper wordcount"""
)
TESTS = _words(
    """boolean defined divisibleby eq equalto even false float ge gt greaterthan in integer iterable
    le lower lt lessthan mapping ne none number odd sequence string true undefined upper
    == != > >= < <="""
)
METHODS: dict[type, frozenset[str]] = {
    str: _words(
        """capitalize count endswith find isalnum isalpha isdigit islower isspace isupper join lower
        lstrip removeprefix removesuffix replace rfind rsplit rstrip split splitlines startswith
        strip swapcase title upper"""
    ),
    dict: _words("get items keys values"),
    list: _words("count index"),
    tuple: _words("count index"),
}
LOOP = _words(
    """index index0 revindex revindex0 first last length depth depth0 previtem nextitem cycle
    changed"""
)
"""Attributes of `loop`."""

REFUSED_NODES: dict[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Block: "block",
}
"""Parts of Jinja's language that prompts do without: a prompt is one text."""
