"""The gate of one step: what a hop has newly written is held against the step's rules before
anything of it leaves the process.

A rule that cannot be evaluated ends the row as a dead letter. The new texts of a row that is
rejected or dead stay behind: it leaves as it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from weft.governance.base import RuleFailed, TextRule, redacted
from weft.governance.kinds import limits_rules, text_rules
from weft.governance.limits import LimitsRule
from weft.governance.texts import Texts, held
from weft.governance.tools import tool_rules, with_refusals
from weft.protocol.message import DEAD, REJECT
from weft.row import Row, decode_row
from weft.segment import ToolTrace, Verdict
from weft.tools.base import Tool
from weft_api.governance import TAGS, GovernanceRule

SECONDS = 30.0
"""Longest that the rules may take over what one hop has written."""
THREADS = 4
"""Hops of one process whose texts are checked beside the event loop at once. Python runs one of
them at a time; the others are there for functions that wait."""
WITHHELD = "(withheld by a governance rule)"

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="governance")


class Ruling(msgspec.Struct):
    """What came of a check: `end` is "" for a row that goes on."""

    verdicts: list[Verdict]
    end: str = ""
    reason: str = ""

    def records(
        self, traces: list[ToolTrace], notes: dict[str, Any]
    ) -> tuple[list[ToolTrace], dict[str, Any]]:
        """What may be known of the hop's records. Of a row that has ended: that tools were called,
        and no text. (New objects: a check that ran out of time may still be at the old ones.)"""
        if not self.end:
            return traces, notes
        return [
            ToolTrace("", "", "", "", trace.seconds, WITHHELD, version=trace.version)
            for trace in traces
        ], {}


class Gate:
    """The rules that hold for one step, in the order of the manifest."""

    def __init__(
        self,
        rules: Sequence[GovernanceRule],
        step: str,
        *,
        tokenizer: str | None = None,
    ) -> None:
        """`tokenizer`: that of the pool's model. Raises `LoadError`, naming the rule."""
        mine = [rule for rule in rules if rule.holds_for(step)]
        self._text_rules: list[TextRule] = text_rules(mine)
        self._limits: list[LimitsRule] = limits_rules(mine, tokenizer)
        self._tool_rules = tool_rules(mine)
        self._definitions: list[dict[str, Any]] = []
        for rule in self._text_rules:
            # So that the first row does not wait long; what goes wrong goes wrong there again.
            _threads.submit(rule.load)

    @property
    def is_open(self) -> bool:
        """Whether no rule holds for this step."""
        return not (self._text_rules or self._limits or self._tool_rules)

    def guarded(self, tools: Mapping[str, Tool]) -> dict[str, Tool]:
        """The step's tools, of which those that a rule does not allow refuse every call."""
        self._definitions = [tool.definition for tool in tools.values()]
        return with_refusals(tools, self._tool_rules)

    async def check(
        self, body: bytes, row: Row, traces: list[ToolTrace], notes: dict[str, Any]
    ) -> Ruling:
        """Hold the row, as a hop has left it, against the rules, and redact in place. `body`: the
        row as the hop got it. Raises nothing that is the row's or a rule's fault."""
        check = _Check(self, body, row, traces, notes)
        try:
            # In a thread the checks cost a tenth more CPU, but heartbeats and other rows go on: of
            # 150 texts full of personal data the event loop was held up 0.08 s, and 2 s without.
            if check.costly():
                async with asyncio.timeout(SECONDS):
                    return await asyncio.get_running_loop().run_in_executor(_threads, check.run)
            return check.run()
        except TimeoutError:
            return check.failed(f"not evaluated after {SECONDS:g} s")
        except Exception as error:
            return check.failed(f"raised {type(error).__name__}")

    def clean(self, text: str) -> str:
        """An error's text, which might quote what no rule lets through; where that would take long
        to tell (this runs on the event loop), it is withheld too."""
        for rule in self._text_rules:
            try:
                if rule.costly(text) or rule.hits(text):
                    return WITHHELD
            except Exception:
                return WITHHELD
        return text

    def close(self) -> None:
        for rule in self._text_rules:
            rule.close()


class _Check:
    """One hop's texts before the rules."""

    def __init__(
        self, gate: Gate, body: bytes, row: Row, traces: list[ToolTrace], notes: dict[str, Any]
    ) -> None:
        self._gate = gate
        self._row, self._traces, self._notes = row, traces, notes
        self._before = decode_row(body)
        self._seen = held(self._before)
        self._counts: dict[str, dict[str, int]] = {}
        self._changed: dict[str, str] = {}
        self._rule = ""

    def costly(self) -> bool:
        rules = self._gate._text_rules
        found = False

        def look(text: str) -> str:
            nonlocal found
            found = found or any(rule.costly(text) for rule in rules)
            return text

        if rules:
            self._walk(look)
        return found or any(rule.costly for rule in self._gate._limits)

    def run(self) -> Ruling:
        gate = self._gate
        if gate._text_rules:
            try:
                self._walk(self._judge)
            except RuleFailed as failed:
                return self.failed(str(failed))
        verdicts = [
            Verdict(rule.name, rule.action, counts)
            for rule in gate._text_rules
            if (counts := self._counts.get(rule.name))
        ]
        self._rule = ""
        new = self._new_messages()
        for rule in gate._limits:
            self._rule = rule.name
            fields = [
                text
                for name, value in self._row.data.items()
                if isinstance(value, str) and (text := value) != self._before.data.get(name)
            ]
            if over := rule.over(self._row.messages, new, fields):
                verdicts.append(Verdict(rule.name, rule.action, over))
        for tools in gate._tool_rules:
            self._rule = tools.name
            if refused := tools.refused(new, self._traces):
                verdicts.append(Verdict(tools.name, tools.action, refused))
        for verdict in verdicts:
            if verdict.action == "reject":
                return Ruling(verdicts, REJECT, told(verdict))
        if tagged := sorted({verdict.rule for verdict in verdicts if verdict.action == "tag"}):
            old = self._row.data.get(TAGS)
            self._row.data[TAGS] = sorted({*(old if isinstance(old, list) else []), *tagged})
        return Ruling(verdicts)

    def failed(self, why: str) -> Ruling:
        """A rule could not be evaluated: the row does not go on."""
        rule = self._rule
        verdicts = [Verdict(rule, "failed", {})]
        return Ruling(verdicts, DEAD, f"governance rule {rule or '(any)'}: {why}")

    def _walk(self, change: Any) -> None:
        texts = Texts(self._seen, change)
        texts.of_row(self._row, self._before, self._gate._definitions)
        texts.of_records(self._traces, self._notes)

    def _judge(self, text: str) -> str:
        """The text as the rules leave it. One that stands in several places is judged once."""
        if text in self._seen:
            return text
        if (known := self._changed.get(text)) is not None:
            return known
        given = text
        for rule in self._gate._text_rules:
            self._rule = rule.name
            hits = rule.hits(text)
            if not hits:
                continue
            counts = self._counts.setdefault(rule.name, {})
            for hit in hits:
                counts[hit.kind] = counts.get(hit.kind, 0) + 1
            if rule.action == "redact":
                text = redacted(text, hits)
        self._changed[given] = text
        return text

    def _new_messages(self) -> list[Any]:
        before = self._before.messages
        return [message for message in self._row.messages if message not in before]


def told(verdict: Verdict) -> str:
    """`governance rule personal-data: EMAIL_ADDRESS 2, PHONE_NUMBER 1`."""
    counts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(verdict.counts.items()))
    return f"governance rule {verdict.rule}: {counts}"
