"""What the operator reports."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from weft_api.base import Model, keyed_by

Phase = Literal[
    "Pending",
    "Starting",
    "Running",
    "Suspended",
    "Draining",
    "Stopped",
    "Succeeded",
    "Failed",
    "Stalled",
]
Count = Annotated[int, Field(ge=0)]


class Condition(Model):
    """A condition in Kubernetes' own form."""

    type: str = Field(description="Name of the condition.", examples=["Ready"])
    status: Literal["True", "False", "Unknown"] = Field(
        description="Whether it holds.", examples=["True"]
    )
    reason: str = Field(description="Why, in one word.", examples=["AllPoolsServing"])
    message: str = Field(
        default="", description="Why, for people.", examples=["3 of 3 pools serve"]
    )
    last_transition_time: str = Field(
        description="When status changed last (RFC 3339).",
        examples=["2026-01-31T12:00:00Z"],
        json_schema_extra={"format": "date-time"},
    )
    observed_generation: Count = Field(
        default=0, description="Generation of the object that this is about.", examples=[3]
    )


class RowCounts(Model):
    """Where the rows are."""

    total: Count | None = Field(
        default=None, description="Rows of the source, once that is known.", examples=[500]
    )
    accepted: Count = Field(default=0, description="Committed as accepted.", examples=[480])
    rejected: Count = Field(default=0, description="Committed as rejected.", examples=[12])
    dead: Count = Field(default=0, description="Committed as dead, with their error.", examples=[1])
    in_flight: Count = Field(
        default=0, description="On their way between the agents.", examples=[7]
    )
    committing: Count = Field(
        default=0, description="Finished by the agents; they wait for their commit.", examples=[3]
    )
    target: Count | None = Field(
        default=None, description="Accepted rows that are wanted.", examples=[10000]
    )
    pending: Count = Field(default=0, description="Not yet started.", examples=[0])


class TokenCounts(Model):
    """Tokens used."""

    prompt: Count = Field(default=0, description="Tokens read by models.", examples=[120000])
    completion: Count = Field(default=0, description="Tokens written by models.", examples=[60000])


class OutputStatus(Model):
    """The table as it is."""

    uri: str = Field(default="", description="Where it is.", examples=["s3://bucket/support"])
    version: int | None = Field(default=None, description="Its last Delta version.", examples=[17])


class PipelineStatus(Model):
    """What the operator has seen."""

    phase: Phase | None = Field(
        default=None, description="State in one word.", examples=["Running"]
    )
    message: str | None = Field(
        default=None, description="State in one line.", examples=["3 of 3 pools serve"]
    )
    observed_generation: Count | None = Field(
        default=None, description="Generation of the spec that this is about.", examples=[3]
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Conditions: Ready, Progressing, Stalled and what explains them.",
        examples=[[{"type": "Ready", "status": "True", "reason": "AllPoolsServing"}]],
        json_schema_extra=keyed_by("type"),
    )
    rows: RowCounts | None = Field(
        default=None, description="Where the rows are.", examples=[{"accepted": 480, "dead": 1}]
    )
    tokens: TokenCounts | None = Field(
        default=None, description="Tokens used.", examples=[{"prompt": 120000, "completion": 60000}]
    )
    pools: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Pools that serve, of all.", examples=["3/3"]
    )
    ray_cluster: str | None = Field(
        default=None, description="Name of the RayCluster.", examples=["support"]
    )
    plan_generation: Count | None = Field(
        default=None, description="Generation of the Plan that the head was given.", examples=[3]
    )
    draining_head: str | None = Field(
        default=None,
        description="Head pod that a suspension has end its work; if the pipeline is resumed while "
        "it is there, another takes its place.",
        examples=["support-head-7xk2p"],
    )
    output: OutputStatus | None = Field(
        default=None,
        description="The table as it is.",
        examples=[{"uri": "s3://bucket/support", "version": 17}],
    )
    started_at: str | None = Field(
        default=None,
        description="When rows began to flow (RFC 3339).",
        examples=["2026-01-31T12:00:00Z"],
        json_schema_extra={"format": "date-time"},
    )
    finished_at: str | None = Field(
        default=None,
        description="When the last row was committed (RFC 3339).",
        examples=["2026-01-31T13:00:00Z"],
        json_schema_extra={"format": "date-time"},
    )


class PoolStatus(Model):
    """What the operator has seen."""

    observed_generation: Count | None = Field(
        default=None, description="Generation of the spec that this is about.", examples=[3]
    )
    replicas: Count | None = Field(default=None, description="Agent pods that exist.", examples=[4])
    desired_replicas: Count | None = Field(
        default=None,
        description="Agent pods that are wanted now, autoscaling counted in.",
        examples=[4],
    )
    ready_replicas: Count | None = Field(
        default=None, description="Agents that serve.", examples=[4]
    )
    updated_replicas: Count | None = Field(
        default=None, description="Agents of the newest revision that serve.", examples=[4]
    )
    selector: str | None = Field(
        default=None,
        description="Label selector of the pods, for the scale subresource.",
        examples=["weft.dev/pool=drafter"],
    )
    current_revision: str | None = Field(
        default=None, description="Revision that serves.", examples=["5f3a9c01"]
    )
    update_revision: str | None = Field(
        default=None, description="Revision that is wanted.", examples=["5f3a9c01"]
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Conditions: Ready, Progressing, Stalled and what explains them.",
        examples=[[{"type": "Ready", "status": "True", "reason": "AllServing"}]],
        json_schema_extra=keyed_by("type"),
    )
