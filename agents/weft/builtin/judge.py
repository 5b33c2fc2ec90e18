"""An LLM as judge: one score, or a score for each criterion of a rubric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from pydantic import Field, StringConstraints

from weft.agent import AgentConfig
from weft.builtin.checks import answers, transcript
from weft.context import Context
from weft.row import ChatMessage, Row

MOST_FEEDBACK = 800
"""Characters of the judge's feedback: room for what is asked for, a sentence or two, and an end
for a model that finds none."""

ASKED = """\

Judge the conversation above. Reply with JSON: {"score": 1 to 10, "feedback": "what has to be \
better, in one or two sentences", "turn": number of the assistant's answer that has to be better, \
0 if none}."""
ASKED_BY_RUBRIC = """\

Judge the conversation above by each of these criteria, from 1 (not met at all) to 10 (fully met):
{criteria}
Reply with JSON: {{"scores": {{{names}}}, "feedback": "what has to be better, in one or two \
sentences", "turn": number of the assistant's answer that has to be better, 0 if none}}."""


class Criterion(AgentConfig):
    """One thing that is scored."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    description: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    """What a full score asks for; the judge reads it."""
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """In the mean of the scores."""
    least: Annotated[int, Field(ge=1, le=10)] = 1
    """A score below this is not accepted, however good the others are."""


class Judgement(msgspec.Struct):
    """What the judge says. Scores are from 1 to 10."""

    score: float
    feedback: str
    turn: int
    """The answer that has to be better, counted from 1; 0: none in particular."""
    scores: dict[str, int] = {}
    """By criterion, with a rubric."""
    below: list[str] = []
    """Criteria whose score is less than they ask for."""


async def judged(
    row: Row,
    ctx: Context,
    prompt: str,
    rubric: Sequence[Criterion],
    *,
    temperature: float,
    max_tokens: int | None,
) -> Judgement:
    """Asks the judge. Raises `EngineError`, `StructuredError` where no reply fits."""
    said = await ctx.llm.structured(
        [
            ChatMessage("system", ctx.render(prompt, row)),
            ChatMessage("user", transcript(row, tools=True) + question(rubric)),
        ],
        reply_schema(answers(row), rubric),
        temperature=temperature,
        max_tokens=max_tokens,
    )
    return judgement(said, rubric)


def question(rubric: Sequence[Criterion]) -> str:
    """What the judge is asked after the conversation."""
    if not rubric:
        return ASKED
    return ASKED_BY_RUBRIC.format(
        criteria="\n".join(f"- {one.name}: {one.description}" for one in rubric),
        names=", ".join(f'"{one.name}": 1 to 10' for one in rubric),
    )


def judgement(said: dict[str, Any], rubric: Sequence[Criterion]) -> Judgement:
    """From the reply to scores: with a rubric their weighted mean, to two decimals."""
    turn, feedback = int(said["turn"]), str(said["feedback"])
    if not rubric:
        return Judgement(int(said["score"]), feedback, turn)
    scores = {one.name: int(said["scores"][one.name]) for one in rubric}
    total = sum(one.weight for one in rubric)
    mean = sum(one.weight * scores[one.name] for one in rubric) / total
    below = [one.name for one in rubric if scores[one.name] < one.least]
    if below:
        feedback = f"{feedback} (not enough: {', '.join(below)})".strip()
    return Judgement(round(mean, 2), feedback, turn, scores, below)


def reply_schema(answers: int, rubric: Sequence[Criterion] = ()) -> dict[str, Any]:
    """The JSON schema of what the judge of a dialogue with so many answers says."""
    score: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 10}
    scores = {
        "type": "object",
        "properties": {one.name: score for one in rubric},
        "required": [one.name for one in rubric],
        "additionalProperties": False,
    }
    name, value = ("scores", scores) if rubric else ("score", score)
    return {
        "type": "object",
        "properties": {
            name: value,
            "feedback": {"type": "string", "maxLength": MOST_FEEDBACK},
            "turn": {"type": "integer", "minimum": 0, "maximum": answers},
        },
        "required": [name, "feedback", "turn"],
        "additionalProperties": False,
    }
