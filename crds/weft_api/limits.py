"""How much a pipeline may use, and when it gives up."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from weft_api.base import Model, keyed_by
from weft_api.engine import Engine
from weft_api.scalars import Quantity, Span, Text

SIMULATOR = "simulator"
"""What a simulated model is called in a price table."""
_MILLION = 1_000_000


class ModelPrice(Model):
    """What a model's tokens cost."""

    model: Text = Field(
        description="Name of the model, as the pools' engines have it; `simulator` for the "
        "simulator.",
        examples=["gpt-5-mini"],
    )
    prompt: Quantity = Field(
        default=Quantity("0"), description="For a million prompt tokens.", examples=["0.25"]
    )
    completion: Quantity = Field(
        default=Quantity("0"), description="For a million completion tokens.", examples=["2.00"]
    )

    def cost(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """In the price table's currency."""
        prompt, completion = self.prompt.value, self.completion.value
        return (prompt * prompt_tokens + completion * completion_tokens) / _MILLION


class BudgetSpec(Model):
    """What may be used over the life of the output, by all its runs together. No more rows are
    begun than it bears by what rows took so far; when the rest is less than that, the run stops.
    """

    tokens: Annotated[int, Field(ge=1, le=2**53 - 1)] | None = Field(
        default=None,
        description="Tokens, those of prompts and of replies, of failed attempts too. Live.",
        examples=[50_000_000],
    )
    cost: Quantity | None = Field(
        default=None,
        description="Money by the price table, in its currency. Live.",
        examples=["25.00"],
    )
    wall_time: Span | None = Field(
        default=None,
        description="Time that rows have been flowing; pauses do not count. Live.",
        examples=["8h"],
    )
    prices: Annotated[list[ModelPrice], Field(max_length=64)] = Field(
        default_factory=list,
        description="Price table: with it the status tells the cost. Live.",
        examples=[[{"model": "gpt-5-mini", "prompt": "0.25", "completion": "2.00"}]],
        json_schema_extra=keyed_by("model"),
    )

    def price(self, model: str) -> ModelPrice | None:
        return next((price for price in self.prices if price.model == model), None)


class StopOnSpec(Model):
    """What ends a run as failed, before it has cost more."""

    rejection_rate: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Part of the rows of this run that ended as rejected or dead, above which "
        "it stops. Live.",
        examples=[0.9],
    )
    after_rows: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        default=100,
        description="Rows that have to have ended before the rate counts. Live.",
        examples=[100],
    )


def model_of(engine: Engine | None) -> str:
    """The model's name in a price table; "" for agents that ask none."""
    if engine is None:
        return ""
    if engine.simulator is not None:
        return SIMULATOR
    named = engine.openai or engine.vllm
    return named.model if named is not None else ""
