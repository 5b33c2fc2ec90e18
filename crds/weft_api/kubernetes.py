"""The parts of a pod that a manifest can set; names and meaning are Kubernetes' own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from weft_api.base import FREE_OBJECT, Model
from weft_api.patterns import DATA_KEY, VARIABLE
from weft_api.scalars import ObjectName, Quantity

Key = Annotated[str, StringConstraints(min_length=1, max_length=317)]


class Resources(Model):
    """Amounts that a pod is given."""

    requests: dict[str, Quantity] = Field(
        default_factory=dict,
        description="Amounts that a node must have free.",
        examples=[{"cpu": "1", "memory": "2Gi"}],
    )
    limits: dict[str, Quantity] = Field(
        default_factory=dict,
        description="Amounts that it may not exceed.",
        examples=[{"memory": "4Gi"}],
    )


class Toleration(Model):
    """A taint that the pod bears."""

    key: Key | None = Field(
        default=None, description="The taint's key; all when empty.", examples=["nvidia.com/gpu"]
    )
    operator: Literal["Exists", "Equal"] | None = Field(
        default=None,
        description="How the taint's value is compared; default Equal.",
        examples=["Exists"],
    )
    value: Annotated[str, StringConstraints(max_length=63)] | None = Field(
        default=None, description="The taint's value.", examples=["present"]
    )
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="The taint's effect; all when empty.", examples=["NoSchedule"]
    )
    toleration_seconds: int | None = Field(
        default=None, description="How long a NoExecute taint is borne.", examples=[300]
    )


class KeyRef(Model):
    """A key in a Secret or ConfigMap."""

    name: ObjectName = Field(
        description="Name of the object, in this namespace.", examples=["openai"]
    )
    key: Annotated[str, StringConstraints(pattern=DATA_KEY, max_length=253)] = Field(
        description="Key in it.", examples=["api-key"]
    )
    optional: bool | None = Field(
        default=None, description="True: the pod starts without it too.", examples=[False]
    )


class FieldRef(Model):
    """A field of the pod."""

    field_path: Key = Field(description="Path of the field.", examples=["metadata.name"])


class EnvVarSource(Model):
    """Where a variable's value comes from: one of these."""

    secret_key_ref: KeyRef | None = Field(
        default=None, description="From a Secret.", examples=[{"name": "openai", "key": "api-key"}]
    )
    config_map_key_ref: KeyRef | None = Field(
        default=None,
        description="From a ConfigMap.",
        examples=[{"name": "settings", "key": "region"}],
    )
    field_ref: FieldRef | None = Field(
        default=None, description="From the pod.", examples=[{"fieldPath": "metadata.name"}]
    )


class EnvVar(Model):
    """An environment variable."""

    name: Annotated[str, StringConstraints(pattern=VARIABLE, max_length=253)] = Field(
        description="Name of the variable.", examples=["HF_HOME"]
    )
    value: Annotated[str, StringConstraints(max_length=8192)] | None = Field(
        default=None, description="Its value; for secrets use valueFrom.", examples=["/models"]
    )
    value_from: EnvVarSource | None = Field(
        default=None,
        description="Where its value comes from.",
        examples=[{"secretKeyRef": {"name": "hub", "key": "token"}}],
    )


class PodFields(Model):
    """Where a pod runs and with what."""

    resources: Resources = Field(
        default_factory=Resources,
        description="Rolled. CPU and memory of the pod.",
        examples=[{"requests": {"cpu": "1", "memory": "2Gi"}}],
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict,
        description="Rolled. Labels that the node must have.",
        examples=[{"node-pool": "gpu"}],
    )
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = Field(
        default_factory=list,
        description="Rolled. Taints that the pod bears.",
        examples=[[{"key": "nvidia.com/gpu", "operator": "Exists"}]],
    )
    pod_template: dict[str, Any] = Field(
        default_factory=dict,
        description="Rolled. Further fields of the pod (metadata and spec of a PodTemplateSpec), "
        "laid over what the operator makes. The container's name is `ray`.",
        examples=[{"spec": {"priorityClassName": "batch"}}],
        json_schema_extra=FREE_OBJECT,
    )
