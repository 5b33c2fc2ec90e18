"""The Plan: all that the runtime needs to know, made from the resources."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from pydantic import Field

from weft_api.base import Model
from weft_api.engine import Engine
from weft_api.flow import Step
from weft_api.pipeline import Tool
from weft_api.pool import Gpu
from weft_api.source import Dataset, Generate


class Source(Model):
    """Exactly one of the two is set; a dataset's `format` always is."""

    dataset: Dataset | None = None
    generate: Generate | None = None


class Output(Model):
    uri: str
    commit_interval: float
    """Seconds."""


class Flow(Model):
    entry: str
    max_hops: int
    steps: list[Step]
    priority: str | None = None
    """CEL over the source's row that gives an integer; higher goes first."""

    def step(self, name: str) -> Step:
        """Raises KeyError where there is none of that name."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)


class Prompt(Model):
    name: str
    text: str
    version: str
    """First 12 hex digits of the text's SHA-256."""


class Delivery(Model):
    max_attempts: int
    in_flight_rows: int
    in_flight_bytes: int
    lease_seconds: float
    handler_timeout_seconds: float
    writers: int


class PoolPlan(Model):
    name: str
    step: str
    agent: str
    """`package.module:Class`."""
    config: dict[str, Any]
    engine: Engine | None
    replicas: int
    concurrency: int
    revision: str
    """Hash over the pool's rolled fields."""
    image: str
    """Empty where the manifest names none."""
    gpu: Gpu | None


class Plan(Model):
    """One generation of what a pipeline is to do. Secrets are in it by reference only."""

    generation: int
    namespace: str
    pipeline: str
    uid: str
    """The pipeline's `metadata.uid`; empty on a laptop."""
    source: Source
    output: Output
    storage_secret: str
    """Secret whose keys are environment variables of the pods; empty without one."""
    flow: Flow
    prompts: list[Prompt]
    tools: list[Tool]
    delivery: Delivery
    seed: Annotated[int, Field(ge=0)]
    pools: list[PoolPlan]

    def pools_of(self, step: str) -> list[PoolPlan]:
        """The pools that serve a step, in the order of their names."""
        return [pool for pool in self.pools if pool.step == step]

    def pool(self, name: str) -> PoolPlan:
        """Raises KeyError where there is none of that name."""
        for pool in self.pools:
            if pool.name == name:
                return pool
        raise KeyError(name)

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Plan:
        """Raises `pydantic.ValidationError` for what `to_json` did not write."""
        return cls.model_validate_json(text, by_name=False)

    def digest(self) -> str:
        """Names the content: the same for two plans that differ in generation only."""
        text = self.model_copy(update={"generation": 0}).to_json()
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def prompt_version(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
