"""Plans with governance rules, for rows that are run in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weft import Agent, Context, Row
from weft.bench.plans import API_VERSION
from weft.row import ChatMessage, ToolCall
from weft_api.governance import GovernanceRule
from weft_api.parse import parse_pipeline, parse_pool
from weft_api.plan import Plan, compile_plan


def rule(name: str = "mine", action: str = "reject", **kind: Any) -> GovernanceRule:
    return GovernanceRule.model_validate({"name": name, "action": action, **kind}, by_name=False)


def pii(*entities: str, action: str = "redact", **more: Any) -> dict[str, Any]:
    return {"name": "personal", "action": action, "pii": {"entities": list(entities)}, **more}


def plan_of(
    *rules: Mapping[str, Any],
    agent: str = "rules_and_plans:Sayer",
    tools: Sequence[Mapping[str, Any]] = (),
    config: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Plan:
    """One step `say`, from which rows are accepted."""
    pipeline = {
        "source": {"generate": {"rows": 1}},
        "output": {"uri": "/out"},
        "flow": {"entry": "say", "steps": [{"name": "say", "next": [{"to": "$accept"}]}]},
        "tools": list(tools),
        "governance": list(rules),
        **spec,
    }
    pool = {"pipelineRef": {"name": "p"}, "agent": agent, "config": dict(config or {})}
    return compile_plan(
        parse_pipeline(
            {
                "apiVersion": API_VERSION,
                "kind": "SyntheticPipeline",
                "metadata": {"name": "p"},
                "spec": pipeline,
            }
        ),
        [
            parse_pool(
                {
                    "apiVersion": API_VERSION,
                    "kind": "AgentPool",
                    "metadata": {"name": "say"},
                    "spec": pool,
                }
            )
        ],
    )


class Sayer(Agent):
    """Says what its row's column `say` holds, everywhere that a text can stand."""

    produces = frozenset({"said"})

    async def handle(self, row: Row, ctx: Context) -> None:
        text = row["say"]
        row.messages.append(ChatMessage("assistant", text))
        row.messages.append(
            ChatMessage("assistant", tool_calls=[ToolCall("c1", "look", f'{{"for": "{text}"}}')])
        )
        row["said"] = {"deep": [text], text: 1}
        ctx.record("note", text)


class Failing(Agent):
    async def handle(self, row: Row, ctx: Context) -> None:
        raise ValueError(f"cannot use {row['say']}")


class Caller(Agent):
    """Calls the tool that the row names."""

    async def handle(self, row: Row, ctx: Context) -> None:
        call = ToolCall("c1", row["tool"], "{}")
        row.messages.append(ChatMessage("assistant", tool_calls=[call]))
        row.messages.append(await ctx.tools.call(call, row))


def fails(text: str) -> bool:
    raise KeyError(text)


def hangs(text: str) -> bool:
    import time

    time.sleep(3)
    return False


def shouts(text: str) -> str | None:
    return "shouting" if text.isupper() else None


CALLS: list[str] = []


def remember() -> str:
    """Remembers that it was called."""
    CALLS.append("called")
    return "done"
