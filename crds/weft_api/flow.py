"""Who may follow whom."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from weft_api.base import Model, Rule, keyed_by
from weft_api.patterns import TARGET
from weft_api.scalars import Condition, Name

ACCEPT = "$accept"
REJECT = "$reject"
ENDS = frozenset({ACCEPT, REJECT})
"""Where a row's way ends; committed as accepted or as rejected."""

ROW_NAMES = frozenset({"id", "messages", "tool_calls"})
"""What every row has for conditions, besides the source's columns and the agents' fields."""

Target = Annotated[
    str,
    StringConstraints(pattern=TARGET, max_length=40),
]


class Edge(Model):
    """One way out of a step."""

    to: Target = Field(
        description="The next step, or an end: $accept or $reject.", examples=["validator"]
    )
    when: Condition | None = Field(
        default=None,
        description="CEL over the row; this way is taken when it is true and none before it was. "
        "Without it the way is taken always, so it comes last.",
        examples=["row.verdict == 'revise' && row.revisions < 3"],
    )


class Step(Model):
    """A place that rows come to; one or several pools serve it."""

    name: Name = Field(description="Name of the step.", examples=["drafter"])
    next: Annotated[list[Edge], Field(min_length=1, max_length=16)] = Field(
        description="The ways out, tried from the top. An agent may also name one of them itself.",
        examples=[[{"to": "tools", "when": "has(row.tool_calls)"}, {"to": "validator"}]],
    )


class FlowSpec(Model):
    """The steps, and where rows enter."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.steps.exists(s, s.name == self.entry)",
            "entry names no step",
            "name one of the steps",
            "entry",
            told_better=True,
        ),
        Rule(
            "self.steps.all(s, s.next.all(n, n.to in ['$accept', '$reject'] || "
            "self.steps.exists(t, t.name == n.to)))",
            "a way leads to a step that does not exist",
            "name one of the steps, $accept or $reject",
            "steps",
            told_better=True,
        ),
        Rule(
            "self.steps.exists(s, s.next.exists(n, n.to in ['$accept', '$reject']))",
            "no step leads to an end",
            "give a step a way to $accept",
            "steps",
            told_better=True,
        ),
        Rule(
            "self.steps.all(s, size(s.next) == 0 || !has(s.next[size(s.next) - 1].when))",
            "the last way out of a step has a condition, so a row may find no way",
            "add a way without `when` at the end",
            "steps",
            told_better=True,
        ),
    )

    entry: Name = Field(description="The step that rows come to first.", examples=["drafter"])
    max_hops: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=64,
        description="Most hops of one row, so that none loops for ever; a row that would go "
        "further is dead-lettered.",
        examples=[64],
    )
    steps: Annotated[list[Step], Field(min_length=1, max_length=64)] = Field(
        description="The steps.",
        examples=[[{"name": "drafter", "next": [{"to": "$accept"}]}]],
        json_schema_extra=keyed_by("name"),
    )
