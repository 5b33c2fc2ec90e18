"""From the manifest's rules to rules that can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from weft.governance.base import TextRule
from weft.governance.blocked import BlockedRule
from weft.governance.limits import LimitsRule
from weft.governance.pii import PiiRule
from weft.loading import LoadError
from weft_api.governance import GovernanceRule

_T = TypeVar("_T")


def text_rules(rules: Iterable[GovernanceRule]) -> list[TextRule]:
    """The rules that look at single texts. Raises `LoadError`, naming the rule."""
    return [
        named(rule, partial(PiiRule if rule.pii is not None else BlockedRule, rule))
        for rule in rules
        if rule.pii_or_blocked
    ]


def limits_rules(rules: Iterable[GovernanceRule], tokenizer: str | None) -> list[LimitsRule]:
    """Raises `LoadError`, naming the rule."""
    return [
        named(rule, partial(LimitsRule, rule, tokenizer))
        for rule in rules
        if rule.limits is not None
    ]


def named(rule: GovernanceRule, make: Callable[[], _T]) -> _T:
    """What `make` gives; its `LoadError` names the rule."""
    try:
        return make()
    except LoadError as error:
        raise LoadError(f"governance[{rule.name}]: {error}") from None
