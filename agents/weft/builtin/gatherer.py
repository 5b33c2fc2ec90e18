"""GathererAgent: what the branches of a divided row made stands side by side in the row."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from weft.agent import Agent, AgentConfig
from weft.context import Context
from weft.row import Row


class GathererConfig(AgentConfig):
    """What can be set."""

    fields: Annotated[list[str], Field(max_length=64)] = Field(default_factory=list)
    """Fields to gather: each becomes the list of the branches' values, in their order; null for a
    branch that has none, or did not come."""
    answers: str | None = None
    """Field for the list of the branches' last answers."""
    messages: bool = False
    """Whether what each branch has added to the dialogue goes into the row's, in their order."""
    at_least: Annotated[int, Field(ge=0, le=16)] = 1
    """Branches that have to come to the join, or the row is to be rejected."""

    @model_validator(mode="after")
    def _makes_sense(self) -> GathererConfig:
        if not (self.fields or self.answers or self.messages):
            raise ValueError("there is nothing to gather; give fields, answers or messages")
        return self


class GathererAgent(Agent):
    """Joins branches (`flow.steps[].fanOut`) that each made a part. Sets the fields that it is told
    to, and `verdict` (accept or reject, then with a `reason`).

    ```yaml
    # in the pipeline's flow
    - name: topic
      fanOut: {branches: [{to: optimist}, {to: sceptic}], join: gatherer}
    ---
    kind: AgentPool
    metadata: {name: gatherer}
    spec:
      pipelineRef: {name: debates}
      agent: weft.builtin:GathererAgent
      config: {answers: sides}
    ```
    """

    Config: ClassVar[type[AgentConfig]] = GathererConfig
    config: GathererConfig
    uses_tools = False
    produces = frozenset({"verdict", "reason"})

    @classmethod
    def fields_of(cls, config: Any) -> frozenset[str]:
        return cls.produces.union(config.fields, [config.answers] if config.answers else [])

    async def handle(self, row: Row, ctx: Context) -> str | None:
        config = self.config
        there = [branch.row if branch.arrived else None for branch in ctx.branches]
        arrived = [one for one in there if one is not None]
        if len(arrived) < config.at_least:
            row["verdict"] = "reject"
            row["reason"] = (
                f"{len(arrived)} of {len(there)} branches came to the join, "
                f"{config.at_least} have to (atLeast)"
            )
            return None
        before = len(row.messages)
        for field in config.fields:
            row[field] = [None if one is None else one.get(field) for one in there]
        if config.answers:
            row[config.answers] = [None if one is None else _answer(one, before) for one in there]
        if config.messages:
            for one in arrived:
                row.messages += one.messages[before:]
        row["verdict"] = "accept"
        return None


def _answer(row: Row, before: int) -> str | None:
    """The last answer that the branch itself gave."""
    own = [message.content for message in row.messages[before:] if message.role == "assistant"]
    return own[-1] if own else None
