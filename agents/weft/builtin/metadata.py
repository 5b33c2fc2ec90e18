"""MetadataAgent: what a row is, in fields that one can filter and count by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints, model_validator

from weft.agent import Agent, AgentConfig
from weft.builtin.checks import transcript
from weft.builtin.language import guess_language
from weft.context import Context
from weft.reply_length import may_be_cut
from weft.row import VIEW_NAMES, ChatMessage, Row

MOST_TRANSCRIPT = 20_000
"""Characters of the dialogue that the labelling model reads."""
Label = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
COUNTED = frozenset(
    {"turns", "tool_names", "tool_call_count", "characters", "approximate_tokens", "language"}
)


class MetadataConfig(AgentConfig):
    """What can be set."""

    prompt: str | None = None
    """Prompt that tells a model how to label; needed where `labels` has any."""
    labels: dict[Label, Annotated[list[str], Field(min_length=2, max_length=100)]] = Field(
        default_factory=dict
    )
    """Fields that a model fills in, each with the values that it may have."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """For the labels; default: as many as the longest ones can need."""

    @model_validator(mode="after")
    def _makes_sense(self) -> MetadataConfig:
        if bool(self.labels) != (self.prompt is not None):
            raise ValueError("prompt and labels go together; give both, or neither")
        if taken := sorted((COUNTED | VIEW_NAMES) & self.labels.keys()):
            raise ValueError(f"labels: `{taken[0]}` is a field of its own; take another name")
        return self

    def cautions(self) -> list[str]:
        cut = self.labels and may_be_cut(self.max_tokens, labels_schema(self.labels))
        return [f"maxTokens: {cut}"] if cut else []


class MetadataAgent(Agent):
    """Counts, without a model: `turns` (of user and assistant), `tool_names`, `tool_call_count`,
    `characters`, `approximate_tokens` (four characters each; the exact counts of what the models
    wrote are in the trace) and `language` (a guess by common words; `und` where unsure).

    And labels, with a model:

    ```yaml
    kind: AgentPool
    metadata: {name: metadata}
    spec:
      pipelineRef: {name: support}
      agent: weft.builtin:MetadataAgent
      config:
        prompt: label
        labels:
          topic: [billing, delivery, account, hardware, other]
          mood: [calm, worried, angry]
      engine: {simulator: {}}
    ```
    """

    Config: ClassVar[type[AgentConfig]] = MetadataConfig
    config: MetadataConfig
    uses_tools = False
    produces = COUNTED

    @classmethod
    def fields_of(cls, config: Any) -> frozenset[str]:
        """The counted fields and the configured labels."""
        return cls.produces | frozenset(config.labels)

    async def handle(self, row: Row, ctx: Context) -> str | None:
        row.data.update(counted(row))
        if self.config.prompt is not None:
            row.data.update(await self._labels(row, ctx, self.config.prompt))
        return None

    async def _labels(self, row: Row, ctx: Context, prompt: str) -> dict[str, str]:
        labels = self.config.labels
        choices = "\n".join(f"- {name}: {', '.join(values)}" for name, values in labels.items())
        labelled: dict[str, str] = await ctx.llm.structured(
            [
                ChatMessage("system", ctx.render(prompt, row)),
                ChatMessage(
                    "user",
                    f"{transcript(row)[:MOST_TRANSCRIPT]}\n\nLabel the conversation above. Reply "
                    f"with one JSON object that has these keys and one value for each:\n{choices}",
                ),
            ],
            labels_schema(labels),
            temperature=self.config.temperature,
            max_tokens=self.config.max_tokens,
        )
        return labelled


def labels_schema(labels: Mapping[str, list[str]]) -> dict[str, Any]:
    """The JSON schema of the labelling model's reply."""
    return {
        "type": "object",
        "properties": {name: {"enum": values} for name, values in labels.items()},
        "required": list(labels),
        "additionalProperties": False,
    }


def counted(row: Row) -> dict[str, Any]:
    """The fields that need no model."""
    spoken = [one for one in row.messages if one.role in ("user", "assistant")]
    calls = [call.name for one in spoken for call in one.tool_calls]
    characters = sum(len(one.content) for one in spoken)
    return {
        "turns": sum(not one.tool_calls for one in spoken),
        "tool_names": sorted(set(calls)),
        "tool_call_count": len(calls),
        "characters": characters,
        "approximate_tokens": -(-characters // 4),
        "language": guess_language(" ".join(one.content for one in spoken)),
    }
