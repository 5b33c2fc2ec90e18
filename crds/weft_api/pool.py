"""AgentPool: agents of one kind that serve one step.

Its fields are *live* (a new Plan carries them to the running agents) or *rolled* (they need new
pods); each description says which, and `ROLLED` is the list that `revision` goes by.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from weft_api.base import FREE_OBJECT, Model, Rule, immutable, keyed_by
from weft_api.engine import Engine
from weft_api.kubernetes import EnvVar, PodFields
from weft_api.meta import Resource
from weft_api.patterns import LABEL_VALUE
from weft_api.scalars import Name, ObjectName, PythonPath, Quantity
from weft_api.source import SecretRef
from weft_api.status import PoolStatus

ROLLED = frozenset(
    {
        "agent",
        "image",
        "engine",
        "gpu",
        "resources",
        "node_selector",
        "tolerations",
        "pod_template",
        "service_account_name",
        "image_pull_secrets",
        "env",
    }
)
"""Fields of `PoolSpec` whose change needs new pods."""


class PipelineRef(Model):
    """A SyntheticPipeline by name."""

    name: Name = Field(
        description="Name of the SyntheticPipeline, in this namespace.", examples=["support"]
    )


class Autoscaling(Model):
    """Replicas by the depth of the inbox."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.min <= self.max", "min is greater than max", "raise max or lower min", "max"),
    )

    min: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1, description="Live. Fewest agents.", examples=[1]
    )
    max: Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="Live. Most agents.", examples=[8]
    )
    target_inbox: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=64,
        description="Live. Messages waiting per agent that are aimed at; more wait: more agents.",
        examples=[64],
    )


class Gpu(Model):
    """GPUs of each agent's pod; they become resource limits and node selectors."""

    count: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1, description="Rolled. GPUs per agent.", examples=[1]
    )
    product: (
        Annotated[
            str,
            StringConstraints(pattern=LABEL_VALUE, max_length=63),
        ]
        | None
    ) = Field(
        default=None,
        description="Rolled. Kind of GPU, as the node's label nvidia.com/gpu.product has it.",
        examples=["NVIDIA-H100-80GB-HBM3"],
    )
    memory: Quantity | None = Field(
        default=None,
        description="Rolled. Least memory of each GPU, by the node's label nvidia.com/gpu.memory.",
        examples=["80Gi"],
    )


class PoolSpec(PodFields):
    """What is wanted."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.step) == has(oldSelf.step) && (!has(self.step) || self.step == oldSelf.step)",
            "a pool cannot move to another step",
            "make a new pool for it",
            "step",
        ),
        Rule(
            "!has(self.autoscaling) || self.replicas <= 1 || "
            "(self.replicas >= self.autoscaling.min && self.replicas <= self.autoscaling.max)",
            "replicas lies outside of autoscaling's min and max",
            "leave replicas out, or widen autoscaling",
            "replicas",
        ),
    )

    pipeline_ref: PipelineRef = Field(
        description="The pipeline that this pool joins. It cannot change.",
        examples=[{"name": "support"}],
        json_schema_extra=immutable(
            "a pool cannot move to another pipeline", "make a new pool there"
        ),
    )
    step: Name | None = Field(
        default=None,
        description="The step that it serves; default: the step of the pool's own name. Several "
        "pools may serve one step. It cannot change.",
        examples=["drafter"],
    )
    agent: PythonPath = Field(
        description="Rolled. The agent's class, in the image.", examples=["weft.builtin:ChatAgent"]
    )
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="Live. The agent's own settings, as its class types them. By convention a key "
        "named `prompt` or `prompts`, or ending in `Prompt`, `Prompts`, `_prompt` or `_prompts`, "
        "names prompts of the pipeline, and `tools` names tools.",
        examples=[{"prompt": "draft", "temperature": 0.9}],
        json_schema_extra=FREE_OBJECT,
    )
    image: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="Rolled. Image of the pods; default: the pipeline's ray.image.",
        examples=["registry.example/agents:1.4.0"],
    )
    engine: Engine | None = Field(
        default=None,
        description="Rolled. Where model replies come from; none for agents that ask no model.",
        examples=[{"vllm": {"model": "Qwen/Qwen3-8B"}}],
    )
    replicas: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=1,
        description="Live. How many agents, each in its own pod (on a laptop: process). With "
        "autoscaling this is where it starts.",
        examples=[4],
    )
    autoscaling: Autoscaling | None = Field(
        default=None,
        description="Live. Replicas by the depth of the inbox. On a laptop replicas counts.",
        examples=[{"min": 1, "max": 8, "targetInbox": 64}],
    )
    concurrency: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=64, description="Live. Messages that one agent handles at once.", examples=[64]
    )
    gpu: Gpu | None = Field(
        default=None,
        description="Rolled. GPUs of each agent's pod.",
        examples=[{"count": 1, "product": "NVIDIA-H100-80GB-HBM3"}],
    )
    service_account_name: ObjectName | None = Field(
        default=None,
        description="Rolled. Service account of the pods; default: the namespace's default, with "
        "no token mounted.",
        examples=["agents"],
    )
    image_pull_secrets: Annotated[list[SecretRef], Field(max_length=16)] = Field(
        default_factory=list,
        description="Rolled. Secrets for pulling the image.",
        examples=[[{"name": "registry"}]],
        json_schema_extra=keyed_by("name"),
    )
    env: Annotated[list[EnvVar], Field(max_length=128)] = Field(
        default_factory=list,
        description="Rolled. Environment of the agents; secrets by valueFrom.",
        examples=[[{"name": "HF_HOME", "value": "/models"}]],
        json_schema_extra=keyed_by("name"),
    )


class AgentPool(Resource):
    """Agents of one kind that serve one step of a pipeline."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "the name is not usable for a group of pods",
            "use lower-case letters, digits and -, a letter first",
            "metadata.name",
        ),
        Rule(
            "self.metadata.name != 'writer'",
            "Weft's own writers are called so",
            "choose another name",
            "metadata.name",
        ),
        Rule(
            "size(self.metadata.name) + size(self.spec.pipelineRef.name) <= 47",
            "the names of pool and pipeline have more than 47 characters together",
            "shorten one of them (the pods' names are made of both)",
            "metadata.name",
        ),
    )

    kind: Literal["AgentPool"] = "AgentPool"
    spec: PoolSpec = Field(
        description="What is wanted.",
        examples=[{"pipelineRef": {"name": "support"}, "agent": "weft.builtin:ChatAgent"}],
    )
    status: PoolStatus | None = Field(
        default=None, description="What the operator has seen.", examples=[{"readyReplicas": 4}]
    )

    @property
    def step(self) -> str:
        """The step that it serves."""
        return self.spec.step or self.metadata.name
