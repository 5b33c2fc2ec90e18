"""Who may follow whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from weft_api.base import Model, Rule, keyed_by
from weft_api.patterns import TARGET
from weft_api.scalars import Condition, Name

ACCEPT = "$accept"
REJECT = "$reject"
ENDS = frozenset({ACCEPT, REJECT})
"""Where a row's way ends; committed as accepted or as rejected."""

BRANCH = "branch"
"""Field with the number of a branch, from 1; only rows in branches have it."""
MOST_BRANCHES = 16

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


class Way(Model):
    """One branch, or several alike."""

    to: Name = Field(description="The step that the branch begins with.", examples=["solver"])
    count: Annotated[int, Field(ge=1, le=MOST_BRANCHES)] = Field(
        default=1, description="How many such branches.", examples=[4]
    )


class FanOut(Model):
    """A row that goes on in several branches at once, which come together again."""

    branches: Annotated[list[Way], Field(min_length=1, max_length=8)] = Field(
        description="The branches, in the order in which the step `join` gets them. Each is a copy "
        "of the row with its number, from 1, in the field `branch`.",
        examples=[[{"to": "solver", "count": 4}, {"to": "critic"}]],
    )
    join: Name = Field(
        description="The step where they come together: its agent gets the row as it was divided, "
        "and all branches beside it. A branch that comes to $reject, or dies, comes there as well "
        "and says so.",
        examples=["chooser"],
    )

    @property
    def ways(self) -> list[str]:
        """The step that each branch begins with."""
        return [way.to for way in self.branches for _ in range(way.count)]


class Step(Model):
    """A place that rows come to; one or several pools serve it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.next) && size(self.next) > 0) || has(self.fanOut)",
            "the step has no way out",
            "add `next`, or `fanOut`",
        ),
        Rule(
            "!has(self.fanOut) || !has(self.next) || self.next.all(n, has(n.when))",
            "a way without `when` is taken always, so that the row is never divided",
            "give the way a `when`, or remove fanOut",
            "next",
        ),
    )

    name: Name = Field(description="Name of the step.", examples=["drafter"])
    next: Annotated[list[Edge], Field(max_length=16)] = Field(
        default_factory=list,
        description="The ways out, tried from the top. An agent may also name one of them itself.",
        examples=[[{"to": "tools", "when": "has(row.tool_calls)"}, {"to": "validator"}]],
    )
    fan_out: FanOut | None = Field(
        default=None,
        description="Where no way of `next` is taken, the row goes on in branches.",
        examples=[{"branches": [{"to": "solver", "count": 4}], "join": "chooser"}],
    )


def divides(steps: Iterable[Step]) -> bool:
    """Whether rows are divided anywhere."""
    return any(step.fan_out is not None for step in steps)


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
            "self.steps.all(s, !has(s.next) || s.next.all(n, n.to in ['$accept', '$reject'] || "
            "self.steps.exists(t, t.name == n.to)))",
            "a way leads to a step that does not exist",
            "name one of the steps, $accept or $reject",
            "steps",
            told_better=True,
        ),
        Rule(
            "self.steps.all(s, !has(s.fanOut) || (self.steps.exists(t, t.name == s.fanOut.join) && "
            "s.fanOut.branches.all(b, self.steps.exists(t, t.name == b.to))))",
            "a branch leads to a step that does not exist",
            "name one of the steps",
            "steps",
            told_better=True,
        ),
        Rule(
            "self.steps.exists(s, has(s.next) && s.next.exists(n, n.to in ['$accept', '$reject']))",
            "no step leads to an end",
            "give a step a way to $accept",
            "steps",
            told_better=True,
        ),
        Rule(
            "self.steps.all(s, has(s.fanOut) || !has(s.next) || size(s.next) == 0 || "
            "!has(s.next[size(s.next) - 1].when))",
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
