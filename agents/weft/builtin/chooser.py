"""ChooserAgent: of the branches of a divided row, the best one becomes the row."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from weft.agent import Agent, AgentConfig
from weft.branch import Branch
from weft.builtin.candidates import Candidate, keep_rejected
from weft.builtin.checks import final_number, last_answer
from weft.builtin.judge import Criterion, judged
from weft.context import Context
from weft.row import Row
from weft_api.flow import BRANCH


class ChooserConfig(AgentConfig):
    """What can be set."""

    by: Literal["judge", "vote"]
    """`judge`: an LLM scores each branch, the highest score wins. `vote`: the branches' answers are
    counted, the most frequent one wins (self-consistency). The earlier branch wins a draw."""
    prompt: str | None = None
    """Prompt that tells the judge what is good."""
    rubric: Annotated[list[Criterion], Field(max_length=20)] = Field(default_factory=list)
    """Criteria that the judge scores one by one; the score is their weighted mean."""
    vote_on: str | None = None
    """Field whose value is counted; without it the final number of the last answer."""
    at_least: Annotated[int, Field(ge=1, le=16)] = 1
    """Branches that have to come to the join (with `vote`: that have to agree), or the row is to
    be rejected."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] = 400

    @model_validator(mode="after")
    def _makes_sense(self) -> ChooserConfig:
        if self.by == "judge" and self.prompt is None:
            raise ValueError("by: there is nothing to judge by; give a prompt, or by: vote")
        if self.by == "judge" and self.vote_on is not None:
            raise ValueError("voteOn: the judge counts no votes; remove it, or set by: vote")
        if self.by == "vote" and (self.prompt is not None or self.rubric):
            raise ValueError("by: a vote has no judge; remove prompt and rubric, or set by: judge")
        return self


class ChooserAgent(Agent):
    """Joins branches (`flow.steps[].fanOut`): the best one's dialogue and fields become the row's.

    Sets `chosen` (the number of the branch) and `verdict` (accept or reject, then with a `reason`);
    with `by: judge` also `score`, and what was worse goes to `rejected_answers`, from which
    preference pairs are exported; with `by: vote` also `agreement`, the winner's share of all
    branches.

    ```yaml
    # in the pipeline's flow
    - name: question
      fanOut: {branches: [{to: solver, count: 5}], join: chooser}
    - name: solver
      next: [{to: chooser}]
    - name: chooser
      next:
      - {to: $reject, when: "row.verdict == 'reject'"}
      - {to: $accept}
    ---
    kind: AgentPool
    metadata: {name: chooser}
    spec:
      pipelineRef: {name: maths}
      agent: weft.builtin:ChooserAgent
      config: {by: vote, atLeast: 3}
    ```
    """

    Config: ClassVar[type[AgentConfig]] = ChooserConfig
    config: ChooserConfig
    uses_tools = False
    produces = frozenset({"chosen", "verdict", "reason"})

    @classmethod
    def fields_of(cls, config: Any) -> frozenset[str]:
        own = {"score", "rejected_answers"} if config.by == "judge" else {"agreement"}
        return cls.produces | own

    async def handle(self, row: Row, ctx: Context) -> str | None:
        there = [branch for branch in ctx.branches if branch.arrived]
        if len(there) < self.config.at_least:
            _reject(row, _too_few(ctx.branches, self.config.at_least))
        elif self.config.by == "vote":
            self._vote(row, there, len(ctx.branches))
        else:
            await self._judge(row, there, ctx)
        return None

    def _vote(self, row: Row, there: Sequence[Branch], of: int) -> None:
        votes = [self._answer(branch.row) for branch in there]
        counts = Counter(vote for vote in votes if vote is not None)
        if not counts:
            what = f"field {self.config.vote_on}" if self.config.vote_on else "number at its end"
            _reject(row, f"none of {of} branches has a {what} to vote with")
            return
        winner, count = counts.most_common(1)[0]  # Of equals, the one that was met first.
        _become(row, there[votes.index(winner)])
        row["agreement"] = round(count / of, 4)
        if count < self.config.at_least:
            needed = self.config.at_least
            _reject(row, f"only {count} of {of} branches agree; {needed} have to (atLeast)")

    def _answer(self, row: Row) -> str | None:
        if self.config.vote_on is not None:
            value = row.get(self.config.vote_on)
            return None if value is None else str(value)
        number = final_number(last_answer(row))
        return None if number is None else str(number.normalize())

    async def _judge(self, row: Row, there: Sequence[Branch], ctx: Context) -> None:
        config = self.config
        assert config.prompt is not None
        found = await asyncio.gather(
            *(
                judged(
                    branch.row,
                    ctx,
                    config.prompt,
                    config.rubric,
                    temperature=config.temperature,
                    max_tokens=config.max_tokens,
                )
                for branch in there
            )
        )
        best = max(range(len(there)), key=lambda at: (found[at].score, -at))
        _become(row, there[best])
        row["score"] = found[best].score
        for branch, judgement in zip(there, found, strict=True):
            if judgement.score < found[best].score and _differ_in_the_last(branch.row, row):
                text = branch.row.messages[-1].content
                worse = Candidate(text, False, judgement.score, judgement.feedback)
                keep_rejected(row, len(row.messages) - 1, worse)


def _become(row: Row, chosen: Branch) -> None:
    row.messages, row.tools = chosen.row.messages, chosen.row.tools
    row.data = {name: value for name, value in chosen.row.data.items() if name != BRANCH}
    row["chosen"], row["verdict"] = chosen.index, "accept"


def _reject(row: Row, reason: str) -> None:
    row["verdict"], row["reason"] = "reject", reason


def _too_few(branches: Sequence[Branch], needed: int) -> str:
    if not branches:
        return "the row has no branches to choose from; lead it here by a step with fanOut"
    lost = [branch for branch in branches if not branch.arrived]
    why = f"; branch {lost[0].index}: {lost[0].reason or lost[0].end}" if lost else ""
    arrived = len(branches) - len(lost)
    return f"{arrived} of {len(branches)} branches came to the join, {needed} have to{why}"


def _differ_in_the_last(one: Row, other: Row) -> bool:
    """Only then do the two make a pair: what came before is the same."""
    a, b = one.messages, other.messages
    return bool(a) and len(a) == len(b) and a[:-1] == b[:-1] and a[-1].content != b[-1].content
