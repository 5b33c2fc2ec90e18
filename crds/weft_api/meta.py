"""The outer form of a resource."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from weft_api.base import API_VERSION, Model
from weft_api.errors import INVALID, ManifestError, Path
from weft_api.scalars import ObjectName


class ObjectMeta(Model):
    """The part of Kubernetes' metadata that is read here; the rest may stand there too."""

    model_config = ConfigDict(extra="ignore")

    name: ObjectName = Field(examples=["support"])
    namespace: str = "default"
    uid: str = ""
    generation: int = 1
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Resource(Model):
    """Base of the two kinds."""

    api_version: Literal["weft.dev/v1alpha1"] = API_VERSION
    kind: str
    metadata: ObjectMeta

    def fault(self, path: Path, problem: str, fix: str, *, reason: str = INVALID) -> ManifestError:
        """A fault of one of this object's fields."""
        return ManifestError.at(self.kind, self.metadata.name, path, problem, fix, reason=reason)
