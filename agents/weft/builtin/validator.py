"""ValidatorAgent: is this row good enough? Checks that need no model, then an LLM as judge."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from weft.agent import Agent, AgentConfig
from weft.builtin.checks import Check, answers, transcript
from weft.context import Context
from weft.row import ChatMessage, Row

ASKED = """\

Judge the conversation above. Reply with JSON: {"score": 1 to 10, "feedback": "what has to be \
better, in one or two sentences", "turn": number of the assistant's answer that has to be better, \
0 if none}."""


class ValidatorConfig(AgentConfig):
    """What can be set."""

    checks: list[Check] = Field(default_factory=list)
    """Asked in order, before the judge; the first that fails decides."""
    prompt: str | None = None
    """Prompt that tells the judge what is good; without it there is no judge."""
    accept: Annotated[int, Field(ge=1, le=10)] = 7
    """The least score, out of ten, that is accepted."""
    reject: Annotated[int, Field(ge=0, le=10)] = 2
    """Up to this score a row is rejected at once; between the two it is revised."""
    max_revisions: Annotated[int, Field(ge=0, le=100)] = 2
    """After so many revisions a row that is still not good enough is rejected."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] = 400

    @model_validator(mode="after")
    def _makes_sense(self) -> ValidatorConfig:
        if self.reject >= self.accept:
            raise ValueError("reject must be less than accept")
        if not self.checks and self.prompt is None:
            raise ValueError("there is nothing to validate by; give checks, a prompt or both")
        return self


class ValidatorAgent(Agent):
    """Sets `verdict` (accept, revise or reject), `feedback` and `revisions`; the judge's `score`
    and, where it names one, `revise_turn`; and the `reason` of a rejection. The flow decides what
    becomes of the row:

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
    """

    Config: ClassVar[type[AgentConfig]] = ValidatorConfig
    config: ValidatorConfig
    uses_tools = False
    produces = frozenset({"verdict", "feedback", "revisions", "reason"})

    @classmethod
    def fields_of(cls, config: Any) -> frozenset[str]:
        """`score` and `revise_turn` are the judge's."""
        return cls.produces | ({"score", "revise_turn"} if config.prompt else set())

    async def handle(self, row: Row, ctx: Context) -> str | None:
        revisions = int(row.data.get("revisions", 0))
        row.data.pop("revise_turn", None)
        verdict, feedback = self._by_checks(row)
        if verdict == "accept" and self.config.prompt is not None:
            verdict, feedback = await self._by_judge(row, ctx, self.config.prompt)
        if verdict == "revise":
            if revisions >= self.config.max_revisions:
                verdict = "reject"
            else:
                revisions += 1
        row["verdict"], row["feedback"], row["revisions"] = verdict, feedback, revisions
        if verdict == "reject":
            row["reason"] = feedback
        return None

    def _by_checks(self, row: Row) -> tuple[str, str]:
        for check in self.config.checks:
            if problem := check.fault(row):
                return check.otherwise, problem
        return "accept", ""

    async def _by_judge(self, row: Row, ctx: Context, prompt: str) -> tuple[str, str]:
        judged = await ctx.llm.structured(
            [
                ChatMessage("system", ctx.render(prompt, row)),
                ChatMessage("user", transcript(row, tools=True) + ASKED),
            ],
            judgement(answers(row)),
            temperature=self.config.temperature,
            max_tokens=self.config.max_tokens,
        )
        score = int(judged["score"])
        row["score"] = score
        if judged["turn"] and score < self.config.accept:
            row["revise_turn"] = int(judged["turn"])
        if score >= self.config.accept:
            return "accept", judged["feedback"]
        return ("reject" if score <= self.config.reject else "revise"), judged["feedback"]


def judgement(answers: int) -> dict[str, Any]:
    """The JSON schema of what the judge of a dialogue with so many answers says."""
    return {
        "type": "object",
        "properties": {
            "score": {"type": "integer", "minimum": 1, "maximum": 10},
            "feedback": {"type": "string", "maxLength": 2000},
            "turn": {"type": "integer", "minimum": 0, "maximum": answers},
        },
        "required": ["score", "feedback", "turn"],
        "additionalProperties": False,
    }
