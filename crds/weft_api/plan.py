"""The Plan: all that the runtime needs to know, made from the resources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field

from weft_api.base import Model
from weft_api.engine import ApiKeyRef, Engine
from weft_api.errors import ManifestErrors
from weft_api.flow import Step
from weft_api.governance import SOURCE, GovernanceRule
from weft_api.limits import BudgetSpec, StopOnSpec
from weft_api.lineage import OpenLineageSpec
from weft_api.pipeline import DeliverySpec, PromptSpec, SyntheticPipeline, Tool
from weft_api.pool import ROLLED, AgentPool, Gpu
from weft_api.rollout import RolloutSpec
from weft_api.source import SUFFIXES, Dataset, Generate, SourceSpec
from weft_api.validation import Known, faults

__all__ = ["Known", "Plan", "PoolPlan", "compile_plan", "prompt_version", "revision"]


class Source(Model):
    """Exactly one of the two is set; a dataset's `format` always is."""

    dataset: Dataset | None = None
    generate: Generate | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    """Only so many rows from the beginning are taken (`weft run --limit`); None: all."""


class Output(Model):
    uri: str
    commit_interval: float
    """Seconds."""
    target_rows: int | None = None
    """Accepted rows that are wanted; None: as many as come of the source."""


class Flow(Model):
    entry: str
    max_hops: int
    steps: list[Step]
    priority: str | None = None
    """CEL over the source's row that gives an integer; higher goes first."""
    deadline: str | None = None
    """CEL over the source's row that gives a duration from its beginning, or null."""
    on_late: Literal["Continue", "Reject"] = "Continue"
    """What becomes of a row whose deadline has passed."""

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
    governance: list[GovernanceRule] = Field(default_factory=list)
    delivery: Delivery
    rollout: RolloutSpec = RolloutSpec()
    budget: BudgetSpec | None = None
    stop_on: StopOnSpec | None = None
    open_lineage: OpenLineageSpec | None = None
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

    def source_rules(self) -> list[GovernanceRule]:
        """The rules that rows of the source are held against before an agent gets them."""
        return [rule for rule in self.governance if rule.holds_for(SOURCE)]

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


def compile_plan(
    pipeline: SyntheticPipeline,
    pools: Sequence[AgentPool],
    *,
    generation: int = 1,
    known: Known | None = None,
    prompt_texts: Mapping[str, str] | None = None,
    checked: bool = False,
) -> Plan:
    """Resources -> Plan. Raises `ManifestErrors` with all the faults found.

    `checked`: the very same has been compiled before, without faults; they are not sought again.

    `prompt_texts` holds the texts of the prompts that stand in ConfigMaps, by the prompt's name.
    Without `known` the conditions' names and the agents' defaults are not checked.
    """
    texts = prompt_texts or {}
    if not checked and (errors := faults(pipeline, pools, known=known, prompt_texts=texts)):
        raise ManifestErrors(errors)
    spec = pipeline.spec
    return Plan(
        generation=generation,
        namespace=pipeline.metadata.namespace,
        pipeline=pipeline.metadata.name,
        uid=pipeline.metadata.uid,
        source=_source(spec.source),
        output=Output(
            uri=spec.output.uri,
            commit_interval=spec.output.commit_interval.seconds,
            target_rows=spec.output.target_rows,
        ),
        storage_secret=spec.storage.secret_ref.name if spec.storage else "",
        flow=Flow(
            entry=spec.flow.entry,
            max_hops=spec.flow.max_hops,
            steps=spec.flow.steps,
            priority=spec.source.priority,
            deadline=spec.source.deadline,
            on_late=spec.source.on_late,
        ),
        prompts=[_prompt(prompt, texts) for prompt in spec.prompts],
        tools=spec.tools,
        governance=spec.governance,
        delivery=_delivery(spec.delivery),
        rollout=spec.rollout,
        budget=spec.budget,
        stop_on=spec.stop_on,
        open_lineage=spec.lineage.open_lineage if spec.lineage else None,
        seed=spec.seed,
        pools=[_pool(pool, pipeline) for pool in sorted(pools, key=lambda p: p.metadata.name)],
    )


def revision(pool: AgentPool, pipeline: SyntheticPipeline) -> str:
    """Names what the pool's pods are made from: 8 hex digits over its rolled fields.

    The pipeline's default image, its storage secret and its tools' secrets count too. Fields at
    their default do not, so that a release that brings a new field changes no revision.
    """
    made_from = pool.spec.model_dump(
        mode="json", by_alias=True, include=set(ROLLED), exclude_defaults=True
    )
    made_from["image"] = _image(pool, pipeline)
    if pipeline.spec.storage is not None:
        made_from["storageSecret"] = pipeline.spec.storage.secret_ref.name
    if secrets := tool_secrets(pipeline.spec.tools):
        made_from["toolSecrets"] = sorted(secrets)
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:8]


def tool_secrets(tools: Sequence[Tool]) -> dict[str, ApiKeyRef]:
    """What MCP servers need, by the environment variable that the pools' pods have it in."""
    servers = [tool.mcp for tool in tools if tool.mcp is not None]
    return {ref.variable: ref for server in servers for ref in server.secrets}


def _image(pool: AgentPool, pipeline: SyntheticPipeline) -> str:
    return pool.spec.image or pipeline.spec.ray.image or ""


def _source(spec: SourceSpec) -> Source:
    dataset = spec.dataset
    if dataset is not None and dataset.format is None:
        suffix = PurePosixPath(dataset.uri).suffix
        dataset = dataset.model_copy(update={"format": SUFFIXES[suffix]})
    return Source(dataset=dataset, generate=spec.generate)


def _prompt(prompt: PromptSpec, texts: Mapping[str, str]) -> Prompt:
    text = prompt.text if prompt.text is not None else texts[prompt.name]
    return Prompt(name=prompt.name, text=text, version=prompt_version(text))


def _delivery(spec: DeliverySpec) -> Delivery:
    return Delivery(
        max_attempts=spec.max_attempts,
        in_flight_rows=spec.in_flight_rows,
        in_flight_bytes=spec.in_flight_bytes.bytes,
        lease_seconds=spec.lease.seconds,
        handler_timeout_seconds=spec.handler_timeout.seconds,
        writers=spec.writers,
    )


def _pool(pool: AgentPool, pipeline: SyntheticPipeline) -> PoolPlan:
    return PoolPlan(
        name=pool.metadata.name,
        step=pool.step,
        agent=pool.spec.agent,
        config=pool.spec.config,
        engine=pool.spec.engine,
        replicas=pool.spec.replicas,
        concurrency=pool.spec.concurrency,
        revision=revision(pool, pipeline),
        image=_image(pool, pipeline),
        gpu=pool.spec.gpu,
    )
