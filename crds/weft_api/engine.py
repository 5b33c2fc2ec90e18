"""Engines: where a pool's model replies come from. The same models stand in AgentPool and Plan."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from weft_api.base import FREE_OBJECT, Model, Rule
from weft_api.patterns import DATA_KEY, URL
from weft_api.scalars import Duration, Fraction, ObjectName, Span, Text


class ApiKeyRef(Model):
    """A key in a Secret; the Plan carries the reference only.

    On a cluster the operator hands the key to the pool's pods in the environment variable that
    `variable` names; on a laptop it is read from the variable of that name.
    """

    name: ObjectName = Field(
        description="Name of the Secret, in this namespace.", examples=["openai"]
    )
    key: Annotated[str, StringConstraints(pattern=DATA_KEY, max_length=253)] = Field(
        default="api-key",
        description="Key in the Secret that holds the API key.",
        examples=["api-key"],
    )

    @property
    def variable(self) -> str:
        """Name of the environment variable: `{name: openai, key: api-key}` -> `OPENAI_API_KEY`."""
        name = re.sub(r"[^A-Z0-9]", "_", f"{self.name}_{self.key}".upper())
        return name if name[0].isalpha() else f"_{name}"


class VllmEngine(Model):
    """vLLM inside the agent's own process, batching over all messages in flight."""

    model: Text = Field(
        description="Model for vLLM to load: a Hugging Face name or a folder in the image or a "
        "volume.",
        examples=["Qwen/Qwen3-8B"],
    )
    args: dict[str, Any] = Field(
        default_factory=dict,
        description="Further engine arguments, by vLLM's own names (AsyncEngineArgs).",
        examples=[{"max_model_len": 8192, "gpu_memory_utilization": 0.9}],
        json_schema_extra=FREE_OBJECT,
    )


class OpenAIEngine(Model):
    """Any endpoint that speaks OpenAI's chat completions."""

    base_url: Annotated[str, StringConstraints(pattern=URL, min_length=1, max_length=2048)] = Field(
        alias="baseURL",
        description="Address of the endpoint, up to and with its version part.",
        examples=["https://api.openai.com/v1"],
    )
    model: Text = Field(description="Model to ask the endpoint for.", examples=["gpt-5-mini"])
    api_key_secret_ref: ApiKeyRef | None = Field(
        default=None,
        description="Where the API key is; none is sent without it. On a laptop the key is read "
        "from the environment variable NAME_KEY (OPENAI_API_KEY for the example).",
        examples=[{"name": "openai", "key": "api-key"}],
    )
    max_concurrency: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None,
        description="Most calls under way at once from one agent; without it the engine finds out "
        "by itself from the endpoint's 429s.",
        examples=[64],
    )
    requests_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        default=None,
        description="Most calls that one agent starts in a minute.",
        examples=[3000],
    )
    timeout: Span = Field(
        default=Span("120s"), description="Longest that one call may take.", examples=["120s"]
    )


class Latency(Model):
    """Log-normally distributed time of a reply."""

    median: Duration = Field(
        default=Duration("200ms"),
        description="Half of the replies take longer.",
        examples=["200ms"],
    )
    sigma: Annotated[float, Field(ge=0, le=3)] = Field(
        default=0.5,
        description="Spread: standard deviation of the logarithm; 0 makes all replies alike.",
        examples=[0.5],
    )


class Tokens(Model):
    """Log-normally distributed length of a reply."""

    median: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=60, description="Half of the replies are longer; in tokens.", examples=[60]
    )
    sigma: Annotated[float, Field(ge=0, le=3)] = Field(
        default=0.5,
        description="Spread: standard deviation of the logarithm; 0 makes all replies alike.",
        examples=[0.5],
    )


class Faults(Model):
    """Chance of each fault, per call."""

    error_rate: Fraction = Field(
        default=0.0,
        description="Chance that a call fails as by a broken endpoint.",
        examples=[0.01],
    )
    rate_limit_rate: Fraction = Field(
        default=0.0,
        description="Chance that a call is turned away as by a full endpoint.",
        examples=[0.05],
    )
    hang_rate: Fraction = Field(
        default=0.0, description="Chance that a call never answers.", examples=[0.001]
    )
    malformed_rate: Fraction = Field(
        default=0.0,
        description="Chance that a reply that should be JSON is cut off in the middle.",
        examples=[0.05],
    )


class Reply(Model):
    """Texts that the simulator gives where a request has a certain text."""

    match: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        description="What one of the user's latest messages, or the instructions, must contain.",
        examples=["is_palindrome"],
    )
    texts: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=16384)]],
        Field(min_length=1, max_length=32),
    ] = Field(
        description="Replies, of which one is drawn by the call's seed.",
        examples=[["def is_palindrome(s): return s == s[::-1]"]],
    )


class SimulatorEngine(Model):
    """A deterministic stand-in for an LLM: no weights, no network, no costs."""

    seed: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = Field(
        default=None, description="Seed of the replies; default: the pipeline's seed.", examples=[7]
    )
    slots: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=64,
        description="Calls that one agent's engine works on at once; others wait.",
        examples=[64],
    )
    latency: Latency = Field(
        default_factory=Latency,
        description="How long a reply takes.",
        examples=[{"median": "200ms", "sigma": 0.5}],
    )
    tokens: Tokens = Field(
        default_factory=Tokens,
        description="How long a reply is.",
        examples=[{"median": 60, "sigma": 0.5}],
    )
    tool_call_rate: Fraction = Field(
        default=0.5,
        description="Chance that a reply calls one of the tools that it was offered.",
        examples=[0.5],
    )
    quote_rate: Fraction = Field(
        default=0.8,
        description="Chance that a reply to instructions with a <text>…</text> in them quotes that "
        "text, as a model does that keeps to it.",
        examples=[0.8],
    )
    replies: Annotated[list[Reply], Field(max_length=256)] = Field(
        default_factory=list,
        description="Texts to draw from where a request has a certain text; the first that matches "
        "counts. For examples and tests whose replies have to make sense, such as programs.",
        examples=[[{"match": "is_palindrome", "texts": ["def is_palindrome(s): ..."]}]],
    )
    faults: Faults = Field(
        default_factory=Faults, description="Faults on demand.", examples=[{"errorRate": 0.01}]
    )


class Engine(Model):
    """At most one kind of engine; none for agents that ask no model."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.vllm), has(self.openai), has(self.simulator)].filter(x, x).size() == 1",
            "an engine is exactly one of vllm, openai and simulator",
            "keep one of them, or leave engine out for an agent that asks no model",
        ),
    )

    vllm: VllmEngine | None = Field(
        default=None,
        description="vLLM in the agent's own process.",
        examples=[{"model": "Qwen/Qwen3-8B"}],
    )
    openai: OpenAIEngine | None = Field(
        default=None,
        description="An OpenAI-compatible endpoint.",
        examples=[{"baseURL": "https://api.openai.com/v1", "model": "gpt-5-mini"}],
    )
    simulator: SimulatorEngine | None = Field(
        default=None,
        description="A deterministic stand-in for an LLM, for demos, tests and sizing.",
        examples=[{"slots": 64, "latency": {"median": "200ms"}}],
    )

    @property
    def kind(self) -> Literal["vllm", "openai", "simulator"]:
        if self.vllm is not None:
            return "vllm"
        return "openai" if self.openai is not None else "simulator"
