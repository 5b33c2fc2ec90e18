"""Jinja's filters, each wrapped: its input is measured before, its result after."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from functools import wraps
from typing import Any

from weft.prompts.budget import MAX_CHARACTERS, Budget, TemplateLimit

MOST_OPTION = 10_000
"""Of any number given to a filter: a width, a count, a length."""
MOST_INDENT = 16


def checked(name: str, filter_: Callable[..., Any], budget: Budget) -> Callable[..., Any]:
    """The filter, spending from `budget`. Raises `TemplateLimit`."""
    passed = 1 if hasattr(filter_, "jinja_pass_arg") else 0
    """Arguments that Jinja itself puts before the value."""

    @wraps(filter_)  # keeps the mark by which Jinja knows what to pass
    def run(*args: Any, **kwargs: Any) -> Any:
        value, options = args[passed], (*args[passed + 1 :], *kwargs.values())
        if isinstance(value, (Iterator, range)):
            value = list(budget.steps(value))
        budget.check(value)
        for option in options:
            budget.check(option)
            if isinstance(option, (int, float)) and abs(option) > MOST_OPTION:
                raise TemplateLimit(f"`{name}` takes numbers up to {MOST_OPTION}")
        _before(name, value, options, budget)
        made = filter_(*args[:passed], value, *args[passed + 1 :], **kwargs)
        return budget.check(plain(made, budget))

    return run


def _before(name: str, value: Any, options: tuple[Any, ...], budget: Budget) -> None:
    """Refuse what would be too large, before it is made."""
    if name == "replace":
        old, new = (*(str(option) for option in options if not isinstance(option, bool)), "", "")[
            :2
        ]
        budget.text(replaced_length(str(value), old, new))
    elif name == "indent":
        budget.text(len(str(value)) + (str(value).count("\n") + 1) * _width(options))
    elif name == "join" and isinstance(value, (list, tuple, dict, str)):
        budget.text(len(value) * _width(options))
    elif name in ("batch", "slice"):
        budget.items(sum(option for option in options if isinstance(option, int)))
    elif name == "tojson" and _width(options) > MOST_INDENT:
        raise TemplateLimit(f"`tojson` indents by up to {MOST_INDENT}")


def _width(options: tuple[Any, ...]) -> int:
    """The largest width that an option can stand for; a text is as wide as it is long."""
    widths = [len(one) if isinstance(one, str) else one for one in options]
    return max((int(one) for one in widths if isinstance(one, (int, float))), default=4)


def replaced_length(text: str, old: str, new: str) -> int:
    """The length of `text.replace(old, new)`, at most `MAX_CHARACTERS` + 1."""
    times = text.count(old)
    return min(len(text) + times * max(0, len(new) - len(old)), MAX_CHARACTERS + 1)


def plain(value: Any, budget: Budget) -> Any:
    """A list for what would come later, out of reach of the checks; text for marked-up text."""
    if isinstance(value, (Iterator, range, KeysView, ValuesView, ItemsView)):
        return list(budget.steps(value))
    return str.__str__(value) if isinstance(value, str) and type(value) is not str else value
