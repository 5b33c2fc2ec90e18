"""SyntheticPipeline: what flows, from where, to where, and by which rules."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from weft_api.base import FREE_OBJECT, Model, Rule, keyed_by
from weft_api.flow import FlowSpec
from weft_api.governance import GovernanceRule
from weft_api.kubernetes import PodFields
from weft_api.limits import BudgetSpec, StopOnSpec
from weft_api.lineage import LineageSpec
from weft_api.mcp import Mcp
from weft_api.meta import Resource
from weft_api.patterns import DATA_KEY, RELEASE, TOOL
from weft_api.rollout import RolloutSpec
from weft_api.scalars import Name, ObjectName, PythonPath, Quantity, Span, Text
from weft_api.source import OutputSpec, SourceSpec, StorageSpec
from weft_api.status import PipelineStatus


class ConfigMapKeyRef(Model):
    """A key in a ConfigMap."""

    name: ObjectName = Field(
        description="Name of the ConfigMap, in this namespace.", examples=["prompts"]
    )
    key: Annotated[str, StringConstraints(pattern=DATA_KEY, max_length=253)] = Field(
        description="Key in the ConfigMap.", examples=["judge"]
    )


class PromptSpec(Model):
    """A prompt that pools refer to by name. Live: a new text goes out without a restart."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.text) != has(self.configMapKeyRef)",
            "a prompt has exactly one of text and configMapKeyRef",
            "keep the one that you mean",
        ),
    )

    name: Name = Field(description="Name that a pool's config refers to.", examples=["draft"])
    text: Annotated[str, StringConstraints(min_length=1, max_length=65536)] | None = Field(
        default=None,
        description="The prompt: a Jinja2 template over `row`.",
        examples=["You help {{ row.customer }} with {{ row.product }}."],
    )
    config_map_key_ref: ConfigMapKeyRef | None = Field(
        default=None,
        description="Where the template is, instead of text.",
        examples=[{"name": "prompts", "key": "judge"}],
    )


class SimulatedTool(Model):
    """A tool whose answers a model makes up."""

    prompt: Name | None = Field(
        default=None,
        description="Prompt (by name) that tells the model how the tool answers; default: one "
        "made from the tool's description and parameters.",
        examples=["order-system"],
    )
    result: dict[str, Any] = Field(
        default_factory=lambda: {"type": "object"},
        description="JSON schema (type: object) of its answers, so that they all have one form; "
        "default: any object.",
        examples=[{"type": "object", "properties": {"status": {"enum": ["open", "sent", "lost"]}}}],
        json_schema_extra=FREE_OBJECT,
    )


class Tool(Model):
    """A tool that dialogues may call."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.python), has(self.simulated), has(self.mcp)].filter(x, x).size() == 1",
            "a tool is exactly one of python, simulated and mcp",
            "keep the one that you mean",
        ),
        Rule(
            "has(self.description) || has(self.mcp)",
            "a tool needs a description, which tells the model what it does",
            "add it, for example description: Looks an order up by its number.",
            "description",
        ),
    )

    name: Annotated[str, StringConstraints(pattern=TOOL, min_length=1, max_length=64)] = Field(
        description="Name by which models call it; of an MCP server, by which pools refer to all "
        "its tools.",
        examples=["lookup_order"],
    )
    description: Text | None = Field(
        default=None,
        description="What it does, for the model. An MCP server's tools bring their own.",
        examples=["Looks an order up by its number."],
    )
    parameters: dict[str, Any] = Field(
        default_factory=lambda: {"type": "object", "properties": {}},
        description="JSON schema (type: object) of its arguments.",
        examples=[
            {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}
        ],
        json_schema_extra=FREE_OBJECT,
    )
    python: PythonPath | None = Field(
        default=None,
        description="Function in the image, called with the arguments by name.",
        examples=["my_package.tools:lookup_order"],
    )
    simulated: SimulatedTool | None = Field(
        default=None,
        description="Answers made up by the engine of the pool that runs tools.",
        examples=[{"prompt": "order-system"}],
    )
    mcp: Mcp | None = Field(
        default=None,
        description="Server of the Model Context Protocol, whose tools are offered by their own "
        "names.",
        examples=[{"command": ["python", "-m", "shop.server"], "tools": ["lookup_order"]}],
    )


class DeliverySpec(Model):
    """How rows are delivered, and the bounds on what is under way."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=3,
        description="A row that has failed so often ends as dead, with its error.",
        examples=[3],
    )
    in_flight_rows: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=1000, description="Most rows under way at once.", examples=[1000]
    )
    in_flight_bytes: Quantity = Field(
        default=Quantity("256Mi"),
        description="Most bytes of rows under way at once.",
        examples=["256Mi"],
    )
    lease: Span = Field(
        default=Span("10s"),
        description="An agent that has not been heard of for so long is taken for dead, and its "
        "rows go on elsewhere.",
        examples=["10s"],
    )
    handler_timeout: Span = Field(
        default=Span("10m"),
        description="Longest that an agent may take over one row; then the attempt has failed.",
        examples=["10m"],
    )
    writers: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="Processes that write the output; each owns a part of the rows.",
        examples=[1],
    )


class HeadSpec(PodFields):
    """The pod of the Ray head."""


class RaySpec(Model):
    """The Ray cluster. Of no effect on a laptop."""

    version: Annotated[str, StringConstraints(pattern=RELEASE, max_length=32)] = Field(
        default="2.60.0", description="Ray's version, as in the images.", examples=["2.60.0"]
    )
    image: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="Image of the head and the writers, and of pools that name none; default: the "
        "operator's.",
        examples=["registry.example/weft-agents:0.1.0"],
    )
    head: HeadSpec = Field(
        default_factory=HeadSpec,
        description="The head's pod.",
        examples=[{"resources": {"requests": {"cpu": "1", "memory": "2Gi"}}}],
    )


class PipelineSpec(Model):
    """What is wanted."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.source.dataset) || self.source.dataset.uri != self.output.uri",
            "the output lies where the source is",
            "choose a folder of its own",
            "output.uri",
            told_better=True,
        ),
    )

    source: SourceSpec = Field(
        description="Where rows come from.",
        examples=[{"dataset": {"uri": "s3://bucket/tickets.jsonl"}}],
    )
    output: OutputSpec = Field(
        description="Where rows end.", examples=[{"uri": "s3://bucket/support"}]
    )
    storage: StorageSpec | None = Field(
        default=None,
        description="Credentials of source and output.",
        examples=[{"secretRef": {"name": "bucket"}}],
    )
    flow: FlowSpec = Field(
        description="Which step follows which.",
        examples=[
            {"entry": "drafter", "steps": [{"name": "drafter", "next": [{"to": "$accept"}]}]}
        ],
    )
    prompts: Annotated[list[PromptSpec], Field(max_length=64)] = Field(
        default_factory=list,
        description="Prompts that pools refer to by name. Live: new rows use a new text at once.",
        examples=[[{"name": "draft", "text": "You help {{ row.customer }}."}]],
        json_schema_extra=keyed_by("name"),
    )
    tools: Annotated[list[Tool], Field(max_length=64)] = Field(
        default_factory=list,
        description="Tools that dialogues may call.",
        examples=[[{"name": "lookup_order", "description": "Looks an order up.", "simulated": {}}]],
        json_schema_extra=keyed_by("name"),
    )
    governance: Annotated[list[GovernanceRule], Field(max_length=64)] = Field(
        default_factory=list,
        description="Rules that every agent holds new text against before it leaves the agent, in "
        "this order. Live.",
        examples=[
            [{"name": "personal-data", "action": "redact", "pii": {"entities": ["EMAIL_ADDRESS"]}}]
        ],
        json_schema_extra=keyed_by("name"),
    )
    delivery: DeliverySpec = Field(
        default_factory=DeliverySpec,
        description="How rows are delivered, and the bounds on what is under way.",
        examples=[{"maxAttempts": 3, "inFlightRows": 1000}],
    )
    budget: BudgetSpec | None = Field(
        default=None,
        description="What may be used, and what it costs.",
        examples=[{"tokens": 50_000_000, "wallTime": "8h"}],
    )
    stop_on: StopOnSpec | None = Field(
        default=None,
        description="What ends a run as failed, before it has cost more.",
        examples=[{"rejectionRate": 0.9, "afterRows": 100}],
    )
    rollout: RolloutSpec = Field(
        default_factory=RolloutSpec,
        description="How a change of prompts, tools, flow or config goes out while rows flow.",
        examples=[{"rowsInProgress": "Keep"}],
    )
    lineage: LineageSpec | None = Field(
        default=None,
        description="Where other systems are told of the run.",
        examples=[{"openLineage": {"url": "http://marquez.lineage.svc:5000"}}],
    )
    seed: Annotated[int, Field(ge=0, le=2**53 - 1)] = Field(
        default=0, description="Seed of everything that is drawn by chance.", examples=[0]
    )
    ray: RaySpec = Field(
        default_factory=RaySpec, description="The Ray cluster.", examples=[{"version": "2.60.0"}]
    )
    suspend: bool = Field(
        default=False,
        description="True: the pods are removed and nothing is lost; false again: it goes on.",
        examples=[False],
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None,
        description="How long the Ray cluster is kept after the end, in seconds; without it, for "
        "ever.",
        examples=[600],
    )


class SyntheticPipeline(Resource):
    """A pipeline that makes a dataset: a source, a flow of agents, an output."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && "
            "size(self.metadata.name) <= 40",
            "the name is not usable for a Ray cluster",
            "use at most 40 lower-case letters, digits and -, a letter first",
            "metadata.name",
        ),
    )

    kind: Literal["SyntheticPipeline"] = "SyntheticPipeline"
    spec: PipelineSpec = Field(
        description="What is wanted.",
        examples=[
            {"source": {"generate": {"rows": 100}}, "output": {"uri": "s3://bucket/support"}}
        ],
    )
    status: PipelineStatus | None = Field(
        default=None, description="What the operator has seen.", examples=[{"phase": "Running"}]
    )
