"""Jinja2 for templates that nobody has reviewed: they can read what they are given, and no more.

Jinja's own sandbox keeps templates away from Python's insides, but not from filling the memory or
running for ever (`'x' * 10**9`, `{{ '%999999999d' % 1 }}`, lists nested by doubling, macros that
call themselves twice). So this one works on allow-lists (filters, methods, kinds of value) and on a
budget for each rendering: steps, seconds, and characters of any one text. What can grow a value is
rewritten in the template's syntax tree to go through a check.

One rendering at a time: an environment is not for several threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from weft_api.errors import did_you_mean

MAX_CHARACTERS = 1_000_000
"""Of any text that a template makes, its output included."""
MAX_STEPS = 200_000
"""Loop rounds, calls and other operations of one rendering; large values cost more than one."""
MAX_SECONDS = 2.0
MAX_ITEMS = 100_000
"""Values in any list or mapping that a template makes, those inside its values included."""
MAX_NUMBER = 10**18

FILTERS = frozenset(
    ["abs", "batch", "capitalize", "d", "default", "dictsort", "escape", "e", "first", "float", "groupby", "indent", "int", "items", "join", "last", "length", "count", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr", "slice", "sort", "string", "sum", "title", "tojson", "trim", "truncate", "unique", "upper", "wordcount"]
)
TESTS = frozenset(
    ["boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "gt", "in", "integer", "iterable", "le", "lower", "lt", "mapping", "ne", "none", "number", "odd", "sequence", "string", "true", "undefined", "upper", "==", "!=", ">", ">=", "<", "<="]
)
METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        ["capitalize", "count", "endswith", "find", "isalnum", "isalpha", "isdigit", "islower", "isspace", "isupper", "join", "lower", "lstrip", "removeprefix", "removesuffix", "replace", "rfind", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper"]
    ),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
}
LOOP = frozenset(
    ["index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0", "previtem", "nextitem", "cycle", "changed"]
)
REFUSED_NODES: dict[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Block: "block",
}


class TemplateLimit(TemplateError):
    """The template does, or would do, more than a prompt may."""


class NamedUndefined(StrictUndefined):
    """Undefined that says which names there are."""

    @property
    def _undefined_message(self) -> str:
        name = str(self._undefined_name)[:80]
        if isinstance(self._undefined_obj, Mapping):
            hint = did_you_mean(name, map(str, self._undefined_obj), otherwise="it is empty")
            return f"there is no `{name}` here; {hint}"
        if self._undefined_hint:
            return str(self._undefined_hint)
        if self._undefined_name is None or isinstance(self._undefined_obj, (str, list, int)):
            return f"a {type(self._undefined_obj).__name__} has no `{name}`"
        return f"there is no `{name}`; write `row.{name}` for a column or field of the row"


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that prompts are compiled in and rendered by."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        super().__init__(
            undefined=NamedUndefined,
            autoescape=False,
            optimized=False,
            keep_trailing_newline=False,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=0,
            finalize=self.printable,
        )
        self._steps = MAX_STEPS
        self._deadline = float("inf")
        self.filters = {name: self._checked(self.filters[name]) for name in FILTERS}
        self.tests = {name: self.tests[name] for name in TESTS}
        self.globals = {"range": self._range, "namespace": Namespace, "dict": dict}
        self.concat = self._concat  # type: ignore[assignment]

    # The budget

    def begin(self) -> None:
        """Fill up the budget, before each rendering."""
        self._steps = MAX_STEPS
        self._deadline = time.monotonic() + MAX_SECONDS

    def spend(self, steps: int = 1) -> None:
        """Raises `TemplateLimit` once the rendering has had its share."""
        self._steps -= steps
        if self._steps < 0:
            raise TemplateLimit(f"it takes more than {MAX_STEPS} steps; loop over less")
        if time.monotonic() > self._deadline:
            raise TemplateLimit(f"it takes more than {MAX_SECONDS:g} s; do less in it")

    def check(self, value: Any) -> Any:
        """The value, once it is known to be of a bearable size. Spends steps by its size."""
        kind = type(value)
        if kind is str:
            if len(value) > MAX_CHARACTERS:
                raise TemplateLimit(f"it makes a text of more than {MAX_CHARACTERS} characters")
            self.spend(1 + len(value) // 1024)
        elif kind is int:
            if not -MAX_NUMBER <= value <= MAX_NUMBER:
                raise TemplateLimit(f"it makes a number beyond {MAX_NUMBER:.0e}")
            self.spend()
        elif kind in (list, tuple, dict):
            items, characters = self._measure(value, MAX_ITEMS)
            self.spend(1 + items // 16 + characters // 1024)
        else:
            self.spend()
        return value

    def _measure(self, value: Any, left: int) -> tuple[int, int]:
        """Items and characters in a value, counted as often as they would be printed."""
        items = characters = 0
        waiting = [value]
        while waiting:
            value = waiting.pop()
            items += 1
            if isinstance(value, str):
                characters += len(value)
            elif isinstance(value, dict):
                waiting.extend(value)
                waiting.extend(value.values())
            elif isinstance(value, (list, tuple)):
                waiting.extend(value)
            elif not (value is None or isinstance(value, (int, float, StrictUndefined))):
                raise TemplateLimit(f"it puts a {type(value).__name__} into a list; use plain data")
            if items + len(waiting) > left:
                raise TemplateLimit(f"it makes a list or mapping of more than {left} values")
            if characters > MAX_CHARACTERS:
                raise TemplateLimit(f"it makes a value of more than {MAX_CHARACTERS} characters")
        return items, characters

    def printable(self, value: Any) -> Any:
        """What `{{ … }}` prints: plain data only, of a bearable size."""
        if isinstance(value, str) or value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, (int, list, tuple, dict)):
            return str(self.check(value))
        if isinstance(value, StrictUndefined):
            return str(value)  # raises, with the name
        raise TemplateLimit(f"it prints a {type(value).__name__}; print text, numbers or lists")

    # What the syntax tree is rewritten to call

    def steps(self, values: Iterable[Any]) -> Iterator[Any]:
        """What a `for` runs over, one step a round."""
        for value in values:
            self.spend()
            yield value

    def concatenated(self, *values: Any) -> str:
        """`a ~ b`"""
        return str(self.check(self._concat([str(self.printable(value)) for value in values])))

    def _concat(self, parts: Iterable[str]) -> str:
        """Join the pieces of a macro, of a `set` block or of the whole output."""
        kept: list[str] = []
        total = 0
        for part in parts:
            total += len(part)
            if total > MAX_CHARACTERS:
                raise TemplateLimit(f"it makes a text of more than {MAX_CHARACTERS} characters")
            kept.append(part)
        return "".join(kept)

    def _range(self, *limits: int) -> range:
        made = range(*limits)
        if len(made) > MAX_ITEMS:
            raise TemplateLimit(f"range() gives more than {MAX_ITEMS} numbers")
        return made

    # Hooks of Jinja's sandbox

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for kind, word in REFUSED_NODES.items():
            if (found := tree.find(kind)) is not None:
                raise TemplateLimit(f"line {found.lineno}: prompts have no `{word}`")
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                raise TemplateLimit(f"line {loop.lineno}: prompts have no recursive loops")
        _Rewriter().visit(tree)
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        for side in (left, right):
            if not isinstance(side, (int, float, str, list, tuple, StrictUndefined)):
                raise TemplateLimit(f"`{operator}` is for numbers and texts")
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "%" and not numbers:
            raise TemplateLimit("`%` is for numbers; join texts with `~`")
        if operator == "**" and not (numbers and abs(right) <= 64):
            raise TemplateLimit("`**` is for numbers, with an exponent up to 64")
        if operator == "*" and not numbers:
            long, times = (left, right) if isinstance(right, int) else (right, left)
            if isinstance(times, int) and not isinstance(long, (int, float)):
                most = MAX_CHARACTERS if isinstance(long, str) else MAX_ITEMS
                if len(long) * max(times, 0) > most:
                    raise TemplateLimit(f"`*` makes a value of more than {most} parts")
        return self.check(super().call_binop(context, operator, left, right))

    def getattr(self, obj: Any, attribute: str) -> Any:
        # A field named `items` or `get` is the field; Jinja would give the mapping's method.
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, LoopContext):
            return attr in LOOP
        if isinstance(obj, Namespace):
            return not attr.startswith("_")
        return attr in METHODS.get(type(obj), ())

    def is_safe_callable(self, obj: Any) -> bool:
        owner = getattr(obj, "__self__", None)
        if owner is self or isinstance(obj, Macro) or obj in (Namespace, dict):
            return True
        if isinstance(owner, LoopContext):
            return getattr(obj, "__name__", "") in ("cycle", "changed")
        return getattr(obj, "__name__", "") in METHODS.get(type(owner), ())

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if owner is self:
            return obj(*args, **kwargs)
        self.spend()
        if isinstance(owner, str):
            self._before(owner, name, args)
        if isinstance(obj, (str, int, float, list, dict)):
            raise TemplateLimit(f"a {type(obj).__name__} cannot be called")
        return self.check(_plain(super().call(context, obj, *args, **kwargs)))

    def _before(self, text: str, name: str, args: tuple[Any, ...]) -> None:
        """Refuse what would be too large, before it is made."""
        self.check(text)
        if name == "replace" and len(args) >= 2:
            old, new = str(args[0]), str(args[1])
            times = text.count(old)
            if len(text) + times * max(0, len(new) - len(old)) > MAX_CHARACTERS:
                raise TemplateLimit(f"it makes a text of more than {MAX_CHARACTERS} characters")
        elif name == "join" and args:
            parts = [part for part in self.steps(args[0]) if isinstance(part, str)]
            if sum(len(part) + len(text) for part in parts) > MAX_CHARACTERS:
                raise TemplateLimit(f"it makes a text of more than {MAX_CHARACTERS} characters")

    def _checked(self, filter_: Callable[..., Any]) -> Callable[..., Any]:
        name = filter_.__name__

        @wraps(filter_)  # keeps the marks by which Jinja passes its context
        def checked(*args: Any, **kwargs: Any) -> Any:
            passed = 1 if hasattr(filter_, "jinja_pass_arg") else 0
            value, options = args[passed], (*args[passed + 1 :], *kwargs.values())
            if isinstance(value, Iterator) or isinstance(value, range):
                value = list(self.steps(value))
            self.check(value)
            for option in options:
                self.check(option)
                if isinstance(option, (int, float)) and not -10_000 <= option <= 10_000:
                    raise TemplateLimit(f"`{name}` with {option}: numbers up to 10000 are allowed")
            if name == "do_replace":
                self._before(str(value), "replace", options)
            elif name == "do_indent":
                self.spend(str(value).count("\n") * _width(options) // 1024)
                if (str(value).count("\n") + 1) * _width(options) > MAX_CHARACTERS:
                    raise TemplateLimit("`indent` makes too long a text")
            elif name == "sync_do_join" and isinstance(value, (list, tuple, dict)):
                between = len(str(options[0])) if options else 0
                if between * len(value) > MAX_CHARACTERS:
                    raise TemplateLimit("`join` makes too long a text")
            elif name == "do_tojson" and _width(options) > 16:
                raise TemplateLimit("`tojson` indents by up to 16")
            made = filter_(*args[:passed], value, *args[passed + 1 :], **kwargs)
            return self.check(_plain(made, self))

        return checked


def _width(options: tuple[Any, ...]) -> int:
    return max(
        (len(o) if isinstance(o, str) else int(o) for o in options if o is not None), default=4
    )


def _plain(value: Any, sandbox: Sandbox | None = None) -> Any:
    """Lists for what would be made later, beyond the checks; text for Jinja's marked text."""
    if isinstance(value, Iterator):
        return list(value if sandbox is None else sandbox.steps(value))
    if isinstance(value, (type({}.keys()), type({}.values()), type({}.items()))):
        return list(value)
    return str(value) if isinstance(value, str) and type(value) is not str else value


class _Rewriter(NodeTransformer):
    """Sends what can grow through the environment's checks."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _through("concatenated", node.nodes, node)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _through("steps", [node.iter], node)
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return _through("check", [node], node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return node if node.ctx == "store" else _through("check", [node], node)

    visit_Dict = visit_List  # type: ignore[assignment]


def _through(check: str, arguments: list[nodes.Expr], at: nodes.Node) -> nodes.Call:
    return nodes.Call(
        nodes.EnvironmentAttribute(check, lineno=at.lineno),
        arguments,
        [],
        None,
        None,
        lineno=at.lineno,
    )
