"""Which tools may be called at a step: another one refuses every call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weft.row import ChatMessage
from weft.segment import ToolTrace
from weft.tools.base import Tool, ToolCallContext, ToolError
from weft_api.governance import GovernanceRule


class ToolsRule:
    """A list of the tools that may be called."""

    def __init__(self, spec: GovernanceRule) -> None:
        assert spec.tools is not None
        self.name, self.action = spec.name, spec.action
        self.allowed = frozenset(spec.tools.names)

    def refused(
        self, messages: Sequence[ChatMessage], traces: Sequence[ToolTrace]
    ) -> dict[str, int]:
        """How often a tool that is not allowed was asked for in the new messages, or called."""
        asked = sum(call.name not in self.allowed for m in messages for call in m.tool_calls)
        called = sum(trace.name not in self.allowed for trace in traces)
        # Names are the model's own words where there is no such tool: they are counted, not kept.
        counts = Counter({"asked": asked, "refused": called})
        return {kind: count for kind, count in counts.items() if count}


class RefusedTool(Tool):
    """Stands in a tool's place and never calls it."""

    def __init__(self, tool: Tool, rule: str) -> None:
        super().__init__(tool.name, tool.description, tool.parameters, version=tool.version)
        self._rule = rule

    async def call(self, arguments: dict[str, Any], call: ToolCallContext) -> str:
        raise ToolError(f"{self.name} may not be used here (rule {self._rule})")


def tool_rules(rules: Iterable[GovernanceRule]) -> list[ToolsRule]:
    return [ToolsRule(rule) for rule in rules if rule.tools is not None]


def with_refusals(tools: Mapping[str, Tool], rules: Sequence[ToolsRule]) -> dict[str, Tool]:
    """The tools, each that a rule does not allow with a refusal in its place."""
    made: dict[str, Tool] = {}
    for name, tool in tools.items():
        against = next((rule.name for rule in rules if name not in rule.allowed), None)
        made[name] = tool if against is None else RefusedTool(tool, against)
    return made
