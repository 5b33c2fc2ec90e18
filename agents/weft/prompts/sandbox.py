"""Jinja2 for templates that nobody has reviewed: they can read what they are given, and no more.

Jinja's own sandbox keeps templates away from Python's insides, but not from filling the memory or
running for ever (`'x' * 10**9`, `{{ '%999999999d' % 1 }}`, lists nested by doubling, macros that
call themselves twice). So this one has lists of what is allowed (`allowed`) and a budget for each
rendering (`budget`). What can grow a value is rewritten in the template's syntax tree to pass a
check; where Python could not be stopped half-way, sizes are reckoned before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from jinja2 import StrictUndefined, nodes
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from weft.prompts.allowed import FILTERS, LOOP, METHODS, REFUSED_NODES, TESTS
from weft.prompts.budget import Budget, TemplateLimit
from weft.prompts.filters import checked, plain, replaced_length
from weft_api.errors import did_you_mean

MAX_EXPONENT = 64


class NamedUndefined(StrictUndefined):
    """Undefined that says which names there are."""

    @property
    def _undefined_message(self) -> str:
        name, owner = str(self._undefined_name)[:80], self._undefined_obj
        if self._undefined_hint:
            return str(self._undefined_hint)
        if isinstance(owner, Mapping):
            hint = did_you_mean(name, map(str, owner), otherwise="it is empty")
            return f"there is no `{name}` here; {hint}"
        if isinstance(owner, (str, list, tuple, int, float)):
            return f"a {type(owner).__name__} has no `{name}`"
        if owner is None:
            return f"null has no `{name}`"
        return f"there is no `{name}`; write `row.{name}` for a column or field of the row"


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that prompts are compiled in and rendered by.

    One rendering at a time (`budget.fill()` before each): it is not for several threads.
    """

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        self.budget = Budget()
        super().__init__(
            undefined=NamedUndefined,
            autoescape=False,
            optimized=False,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=0,
            finalize=self.printable,
        )
        self.filters = {name: checked(name, self.filters[name], self.budget) for name in FILTERS}
        self.tests = {name: self.tests[name] for name in TESTS}
        self.globals = {"range": self.range, "namespace": Namespace, "dict": dict}
        self.concat = self.budget.joined  # type: ignore[method-assign]

    # What templates and their rewritten syntax trees call

    def printable(self, value: Any) -> Any:
        """What `{{ … }}` prints: plain data only, of a bearable size."""
        if value is None or isinstance(value, (str, bool, float)):
            return value
        if isinstance(value, (int, list, tuple, dict, range)):
            return str(self.budget.check(value))
        if isinstance(value, StrictUndefined):
            return str(value)  # raises, with the name
        raise TemplateLimit(f"it prints a {type(value).__name__}; print text, numbers or lists")

    def measured(self, value: Any) -> Any:
        """A list, tuple or mapping that the template has just made."""
        return self.budget.check(value)

    def stepped(self, values: Iterable[Any]) -> Iterator[Any]:
        """What a `for` runs over."""
        return self.budget.steps(values)

    def concatenated(self, *values: Any) -> str:
        """`a ~ b`"""
        text = self.budget.joined([str(self.printable(value)) for value in values])
        return cast(str, self.budget.check(text))

    def range(self, *limits: int) -> list[int]:
        """`range` as a list, so that what it costs is known at once."""
        numbers = range(*limits)
        try:
            self.budget.items(len(numbers))
        except OverflowError:
            raise TemplateLimit("range() is given too large a number") from None
        return list(numbers)

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
        if operator == "**" and not (numbers and abs(right) <= MAX_EXPONENT):
            raise TemplateLimit(f"`**` is for numbers, with an exponent up to {MAX_EXPONENT}")
        if operator == "*" and not numbers:
            parts, times = (left, right) if isinstance(right, int) else (right, left)
            if isinstance(times, int) and isinstance(parts, str):
                self.budget.text(len(parts) * max(times, 0))
            elif isinstance(times, int) and isinstance(parts, (list, tuple)):
                self.budget.items(len(parts) * max(times, 0))
        return self.budget.check(super().call_binop(context, operator, left, right))

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
        if isinstance(obj, Macro) or obj is Namespace or obj is dict:
            return True
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, LoopContext):
            return name in ("cycle", "changed")
        return owner is self or name in METHODS.get(type(owner), ())

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if owner is self:
            return obj(*args, **kwargs)
        if not callable(obj) or isinstance(obj, StrictUndefined):
            raise TemplateLimit(
                str(obj)
                if isinstance(obj, StrictUndefined)
                else f"a {type(obj).__name__} cannot be called; leave the `()` out"
            )
        self.budget.spend()
        if isinstance(owner, str):
            self._before(owner, name, args)
        return self.budget.check(plain(super().call(context, obj, *args, **kwargs), self.budget))

    def _before(self, text: str, method: str, args: tuple[Any, ...]) -> None:
        """Refuse what a method would make too large, before it is made."""
        self.budget.check(text)
        if method == "replace" and len(args) >= 2:
            self.budget.text(replaced_length(text, str(args[0]), str(args[1])))
        elif method == "join" and args and isinstance(args[0], (list, tuple, dict, str)):
            parts = [len(text) + len(part) for part in args[0] if isinstance(part, str)]
            self.budget.text(sum(parts))


class _Rewriter(NodeTransformer):
    """Sends what can grow through the environment's checks."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _through("concatenated", list(node.nodes), node)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _through("stepped", [cast(nodes.Expr, node.iter)], node)
        return node

    def visit_List(self, node: nodes.Node) -> nodes.Node:
        self.generic_visit(node)
        return _through("measured", [cast(nodes.Expr, node)], node)

    visit_Dict = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return node if node.ctx == "store" else _through("measured", [node], node)


def _through(check: str, arguments: list[nodes.Expr], at: nodes.Node) -> nodes.Call:
    environment = nodes.EnvironmentAttribute(check, lineno=at.lineno)
    return nodes.Call(environment, arguments, [], None, None, lineno=at.lineno)
