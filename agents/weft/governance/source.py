"""The gate of the source: rows are held against the rules before an agent gets them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from weft.data.source import SourceRow
from weft.governance.base import RuleFailed, TextRule, redacted
from weft.governance.gate import WITHHELD, told
from weft.governance.kinds import text_rules
from weft.governance.texts import Texts
from weft.protocol.message import DEAD, REJECT
from weft.row import Origin, Row, source_digest
from weft.segment import Verdict
from weft_api.governance import SOURCE, TAGS, GovernanceRule


class Admitted(msgspec.Struct):
    """A row of the source after the check: `end` is "" for one that goes on its way."""

    row: Row
    end: str = ""
    reason: str = ""


class SourceGate:
    """Calls block, for about a millisecond a row and for seconds at the first: make them in a
    thread."""

    def __init__(self, rules: Sequence[GovernanceRule]) -> None:
        """Raises `LoadError`, naming the rule."""
        mine = [rule for rule in rules if rule.holds_for(SOURCE)]
        self._allowed = [rule for rule in mine if rule.source is not None]
        self._text_rules: list[TextRule] = text_rules(mine)

    @property
    def is_open(self) -> bool:
        """Whether no rule is about the source."""
        return not (self._allowed or self._text_rules)

    def admit(self, given: SourceRow) -> Admitted:
        """The row as it may be used. Of one that is rejected, or that no rule could be evaluated
        for, nothing goes on but its digest."""
        began = time.time()
        row = Row(given.id, given.columns)
        digest = source_digest(given.columns)
        verdicts: list[Verdict] = []
        rule = ""
        try:
            for allowed in self._allowed:
                rule = allowed.name
                assert allowed.source is not None
                value = given.columns.get(allowed.source.column)
                if value not in allowed.source.values:
                    kind = "missing" if value is None else "notAllowed"
                    verdicts.append(Verdict(rule, allowed.action, {kind: 1}))
            for text_rule in self._text_rules:
                rule = text_rule.name
                if counts := _apply(text_rule, row, given.ordinal):
                    verdicts.append(Verdict(rule, text_rule.action, counts))
        except Exception as error:
            why = str(error) if isinstance(error, RuleFailed) else f"raised {type(error).__name__}"
            origin = Origin(digest, began, [Verdict(rule, "failed", {})])
            return Admitted(
                _nothing_of(given, origin), DEAD, f"source: governance rule {rule}: {why}"
            )
        if given.error and any(rule.hits(given.error) for rule in self._text_rules):
            given.error = f"source: a row that cannot be used {WITHHELD}"
        if not verdicts:
            return Admitted(row)
        origin = Origin(digest, began, verdicts)
        for verdict in verdicts:
            if verdict.action == "reject":
                return Admitted(_nothing_of(given, origin), REJECT, f"source: {told(verdict)}")
        if tagged := sorted({verdict.rule for verdict in verdicts if verdict.action == "tag"}):
            row.data[TAGS] = tagged
        row.origin = origin
        return Admitted(row)


def _apply(rule: TextRule, row: Row, ordinal: int) -> dict[str, int]:
    counts: dict[str, int] = {}

    def change(text: str) -> str:
        hits = rule.hits(text)
        for hit in hits:
            counts[hit.kind] = counts.get(hit.kind, 0) + 1
        return redacted(text, hits) if hits and rule.action == "redact" else text

    texts = Texts((), change)
    row.source = texts.value(row.source)
    if texts.value(row.id) != row.id:
        # An overwritten id would no longer tell rows apart; their place in the source does.
        row.id = str(ordinal)
    return counts


def _nothing_of(given: SourceRow, origin: Origin) -> Row:
    return Row(str(given.ordinal), {}, origin=origin)
