"""ValidatorAgent: is this row good enough? Checks that need no model, then an LLM as judge."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, ClassVar

import msgspec
from pydantic import Field, model_validator

from weft.agent import Agent, AgentConfig
from weft.builtin.candidates import Candidate, choose, offered, put_in_place
from weft.builtin.checks import Check
from weft.builtin.judge import Criterion, Judgement, judged, reply_schema
from weft.context import Context
from weft.reply_length import may_be_cut
from weft.row import Row


class ValidatorConfig(AgentConfig):
    """What can be set."""

    checks: list[Check] = Field(default_factory=list)
    """Asked in order, before the judge; the first that fails decides."""
    prompt: str | None = None
    """Prompt that tells the judge what is good; without it there is no judge."""
    rubric: Annotated[list[Criterion], Field(max_length=20)] = Field(default_factory=list)
    """Criteria that the judge scores one by one; the score is their weighted mean."""
    accept: Annotated[float, Field(ge=1, le=10)] = 7
    """The least score, out of ten, that is accepted."""
    reject: Annotated[float, Field(ge=0, le=10)] = 2
    """Up to this score a row is rejected at once; between the two it is revised."""
    max_revisions: Annotated[int, Field(ge=0, le=100)] = 2
    """After so many revisions a row that is still not good enough is rejected."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """For the judge's reply; default: as many as the longest one can need."""

    @model_validator(mode="after")
    def _makes_sense(self) -> ValidatorConfig:
        if self.reject >= self.accept:
            raise ValueError("reject must be less than accept")
        if not self.checks and self.prompt is None:
            raise ValueError("there is nothing to validate by; give checks, a prompt or both")
        if self.rubric and self.prompt is None:
            raise ValueError("rubric: there is no judge to score it; give a prompt too")
        names = [one.name for one in self.rubric]
        if len(set(names)) < len(names):
            raise ValueError("rubric: two criteria have the same name; rename one")
        return self

    def cautions(self) -> list[str]:
        cut = self.prompt and may_be_cut(self.max_tokens, reply_schema(1, self.rubric))
        return [f"maxTokens: {cut}"] if cut else []


class _Verdict(msgspec.Struct):
    word: str
    feedback: str
    judgement: Judgement | None = None


class ValidatorAgent(Agent):
    """Sets `verdict` (accept, revise or reject), `feedback` and `revisions`; the judge's `score`
    (with a rubric also `scores`, by criterion) and, where it names one, `revise_turn`; and the
    `reason` of a rejection. The flow decides what becomes of the row:

    ```yaml
    kind: AgentPool
    metadata: {name: validator}
    spec:
      pipelineRef: {name: support}
      agent: weft.builtin:ValidatorAgent
      config:
        prompt: judge
        accept: 7
        checks:
        - length: {min: 20, max: 4000}
        - regex: {pattern: "(?i)as an ai", forbidden: true}
        - number: {equals: answer}
          otherwise: reject
      engine: {simulator: {}}
    ---
    # in the pipeline's flow
    - name: validator
      next:
      - {to: drafter, when: "row.verdict == 'revise'"}
      - {to: $reject, when: "row.verdict == 'reject'"}
      - {to: metadata}
    ```

    Of a row with several candidates for its last answer (`ChatAgent`'s `candidates`) the best one
    stays, by checks and then by score; what was worse goes to `rejected_answers`, from which
    preference pairs are exported.
    """

    Config: ClassVar[type[AgentConfig]] = ValidatorConfig
    config: ValidatorConfig
    uses_tools = False
    produces = frozenset({"verdict", "feedback", "revisions", "reason", "rejected_answers"})

    @classmethod
    def fields_of(cls, config: Any) -> frozenset[str]:
        """`score`, `revise_turn` and, with a rubric, `scores` are the judge's."""
        judges = {"score", "revise_turn"} if config.prompt else set()
        return cls.produces | judges | ({"scores"} if config.rubric else set())

    async def handle(self, row: Row, ctx: Context) -> str | None:
        config = self.config
        revisions = int(row.data.get("revisions", 0))
        row.data.pop("revise_turn", None)
        found = await self._best(row, ctx)
        verdict = found.word
        if verdict == "revise":
            if revisions >= config.max_revisions:
                verdict = "reject"
            else:
                revisions += 1
        row["verdict"], row["feedback"], row["revisions"] = verdict, found.feedback, revisions
        if (judgement := found.judgement) is not None:
            row["score"] = judgement.score
            if judgement.scores:
                row["scores"] = judgement.scores
            if judgement.turn and found.word != "accept":
                row["revise_turn"] = judgement.turn
        if verdict == "reject":
            row["reason"] = found.feedback
        return None

    async def _best(self, row: Row, ctx: Context) -> _Verdict:
        """The verdict on the row; of several candidates, on the one that is left in it."""
        texts = offered(row)
        if not texts:
            return await self._verdict(row, ctx)
        rows = [put_in_place(row, text) for text in texts]
        faults = await asyncio.gather(*(self._by_checks(one) for one in rows))
        # After the checks, however long each took: so each judge's seed is the same every time.
        verdicts = await asyncio.gather(
            *(self._after(fault, one, ctx) for fault, one in zip(faults, rows, strict=True))
        )
        best = choose(
            row,
            [
                Candidate(
                    text,
                    one.word == "accept",
                    None if one.judgement is None else one.judgement.score,
                    one.feedback,
                )
                for text, one in zip(texts, verdicts, strict=True)
            ],
        )
        ctx.record("candidates", len(texts))
        return verdicts[best]

    async def _verdict(self, row: Row, ctx: Context) -> _Verdict:
        return await self._after(await self._by_checks(row), row, ctx)

    async def _by_checks(self, row: Row) -> _Verdict | None:
        for check in self.config.checks:
            if problem := await check.fault(row):
                return _Verdict(check.otherwise, problem)
        return None

    async def _after(self, fault: _Verdict | None, row: Row, ctx: Context) -> _Verdict:
        if fault is not None:
            return fault
        if self.config.prompt is None:
            return _Verdict("accept", "")
        return await self._by_judge(row, ctx, self.config.prompt)

    async def _by_judge(self, row: Row, ctx: Context, prompt: str) -> _Verdict:
        config = self.config
        found = await judged(
            row,
            ctx,
            prompt,
            config.rubric,
            temperature=config.temperature,
            max_tokens=config.max_tokens,
        )
        if found.score >= config.accept and not found.below:
            return _Verdict("accept", found.feedback, found)
        word = "reject" if found.score <= config.reject else "revise"
        return _Verdict(word, found.feedback, found)
