"""One object (as YAML or the API server gives it) -> one resource, or faults in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from weft_api.base import API_VERSION, GROUP
from weft_api.errors import ManifestError, ManifestErrors, did_you_mean
from weft_api.meta import Resource
from weft_api.pipeline import SyntheticPipeline
from weft_api.pool import AgentPool
from weft_api.words import in_words

KINDS: dict[str, type[SyntheticPipeline] | type[AgentPool]] = {
    "SyntheticPipeline": SyntheticPipeline,
    "AgentPool": AgentPool,
}
UNNAMED = "(unnamed)"
R = TypeVar("R", bound=Resource)


def parse_pipeline(obj: Mapping[str, Any]) -> SyntheticPipeline:
    """Raises `ManifestErrors`. `status` is left out: it is an observation, never an input."""
    return _parse(SyntheticPipeline, obj)


def parse_pool(obj: Mapping[str, Any]) -> AgentPool:
    """Raises `ManifestErrors`. `status` is left out: it is an observation, never an input."""
    return _parse(AgentPool, obj)


def parse(obj: Mapping[str, Any]) -> SyntheticPipeline | AgentPool:
    """A resource of either kind. Raises `ManifestErrors`."""
    if faults := list(_type_faults(obj)):
        raise ManifestErrors(faults)
    return _parse(KINDS[obj["kind"]], obj)


def name_of(obj: Mapping[str, Any]) -> str:
    """The object's name, or `UNNAMED`."""
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) and name else UNNAMED


def _type_faults(obj: Mapping[str, Any]) -> Iterator[ManifestError]:
    kind, version, name = obj.get("kind"), obj.get("apiVersion"), name_of(obj)
    shown = kind if isinstance(kind, str) and kind else "object"
    if version != API_VERSION:
        problem = f'"{version}" is not known' if version else "is missing"
        yield ManifestError.at(
            shown, name, ("apiVersion",), problem, f"write apiVersion: {API_VERSION}"
        )
    if not isinstance(kind, str) or kind not in KINDS:
        problem = f'"{kind}" is no kind of {GROUP}' if kind else "is missing"
        yield ManifestError.at(shown, name, ("kind",), problem, did_you_mean(str(kind), KINDS))


def _parse(model: type[R], obj: Mapping[str, Any]) -> R:
    wanted = {key: value for key, value in obj.items() if key != "status"}
    try:
        return model.model_validate(wanted, by_name=False, by_alias=True)
    except ValidationError as error:
        kind, name = model.__name__, name_of(obj)
        faults = []
        for detail in error.errors(include_url=False):
            path, problem, fix = in_words(model, detail)
            faults.append(ManifestError.at(kind, name, path, problem, fix))
        raise ManifestErrors(faults) from None
