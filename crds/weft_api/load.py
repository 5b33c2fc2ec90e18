"""Manifests from files and folders, with file and line kept for every fault.

What `kubectl apply -f` would take is taken here: several documents a file, several files a folder.
Of other kinds of object only ConfigMaps count (for prompts); the rest, say Secrets and Namespaces,
is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from weft_api.base import GROUP
from weft_api.errors import ManifestError, ManifestErrors, did_you_mean, dotted
from weft_api.files import Found, Origin, read_objects
from weft_api.parse import KINDS, UNNAMED, name_of, parse
from weft_api.pipeline import SyntheticPipeline
from weft_api.plan import Known, Plan, compile_plan
from weft_api.pool import AgentPool
from weft_api.validation.uris import is_relative

Origins = Mapping[tuple[str, str], Origin]
"""By kind and name."""


@dataclass(frozen=True)
class Manifests:
    """One pipeline with its pools, and the texts of the prompts that stand in ConfigMaps."""

    pipeline: SyntheticPipeline
    pools: list[AgentPool]
    prompt_texts: Mapping[str, str]
    """By the prompt's name."""
    folder: Path
    """Where relative paths in the pipeline start: the folder of its file."""
    origins: Origins = field(default_factory=dict, repr=False)

    def compile(self, *, known: Known | None = None, generation: int = 1) -> Plan:
        """Raises `ManifestErrors`, each fault with its file and line."""
        try:
            return compile_plan(
                self._with_absolute_uris(),
                self.pools,
                generation=generation,
                known=known,
                prompt_texts=self.prompt_texts,
            )
        except ManifestErrors as errors:
            raise ManifestErrors(located(errors.errors, self.origins)) from None

    def _with_absolute_uris(self) -> SyntheticPipeline:
        spec = self.pipeline.spec
        output = spec.output.model_copy(update={"uri": self.absolute(spec.output.uri)})
        source = spec.source
        if source.dataset is not None:
            uri = self.absolute(source.dataset.uri)
            dataset = source.dataset.model_copy(update={"uri": uri})
            source = source.model_copy(update={"dataset": dataset})
        spec = spec.model_copy(update={"output": output, "source": source})
        return self.pipeline.model_copy(update={"spec": spec})

    def absolute(self, uri: str) -> str:
        """An address as the run sees it: a relative path starts at the manifest's folder."""
        return str((self.folder / uri).resolve()) if is_relative(uri) else uri


def load(paths: Iterable[str | Path], *, pipeline: str | None = None) -> Manifests:
    """Reads files and folders; `pipeline` chooses by name where there are several.

    Raises `ManifestErrors` with every fault that single objects have; `Manifests.compile` finds
    those between objects.
    """
    errors: list[ManifestError] = []
    origins: dict[tuple[str, str], Origin] = {}
    pipelines: dict[str, SyntheticPipeline] = {}
    pools: list[AgentPool] = []
    config_maps: dict[tuple[str, str], str] = {}
    for found in read_objects(paths, errors):
        if _is_config_map(found.obj):
            config_maps |= _texts(found.obj)
        elif not _is_foreign(found.obj):
            match _resource(found, origins, errors):
                case SyntheticPipeline() as resource:
                    pipelines[resource.metadata.name] = resource
                case AgentPool() as resource:
                    pools.append(resource)
    if errors:
        raise ManifestErrors(errors)
    chosen = _choose(pipelines, pipeline, origins)
    return Manifests(
        chosen,
        [pool for pool in pools if _belongs(pool, chosen, pipelines)],
        _resolve(chosen, config_maps),
        Path(origins[chosen.kind, chosen.metadata.name].file).parent.resolve(),
        origins,
    )


def located(errors: Iterable[ManifestError], origins: Origins) -> list[ManifestError]:
    """The faults with file and line in place of the object, in the order of the files."""
    placed: list[tuple[str, int, ManifestError]] = []
    for error in errors:
        if origin := origins.get((error.kind, error.name)):
            where = f"{origin.at(error.path)}: {dotted(error.path)}"
            placed.append((origin.file, origin.line(error.path), replace(error, where=where)))
        else:
            placed.append(("", 0, error))
    return [error for _, _, error in sorted(placed, key=lambda item: item[:2])]


def _resource(
    found: Found, origins: dict[tuple[str, str], Origin], errors: list[ManifestError]
) -> SyntheticPipeline | AgentPool | None:
    """The resource, or None with its faults in `errors`."""
    kind, name = found.obj.get("kind"), name_of(found.obj)
    if name != UNNAMED and (first := origins.get((str(kind), name))):
        path = ("metadata", "name")
        error = ManifestError(
            f"{found.origin.at(path)}: {dotted(path)}",
            f'{kind} "{name}" is there already, at {first.at(path)}',
            "rename or remove one of the two",
        )
        errors.append(error)
        return None
    origins[str(kind), name] = found.origin
    try:
        return parse(found.obj)
    except ManifestErrors as faults:
        errors += located(faults.errors, {(e.kind, e.name): found.origin for e in faults.errors})
        return None


def _choose(
    pipelines: Mapping[str, SyntheticPipeline], name: str | None, origins: Origins
) -> SyntheticPipeline:
    if name is None and len(pipelines) == 1:
        return next(iter(pipelines.values()))
    if name is not None and name in pipelines:
        return pipelines[name]
    if not pipelines:
        files = ", ".join(sorted({origin.file for origin in origins.values()}))
        error = ManifestError(files or "manifests", "there is no SyntheticPipeline", "add one")
    elif name is not None:
        fix = did_you_mean(name, pipelines)
        error = ManifestError("manifests", f'pipeline "{name}" does not exist', fix)
    else:
        places = [f'"{n}" ({origins["SyntheticPipeline", n].at()})' for n in pipelines]
        problem = f"there are several pipelines: {', '.join(places)}"
        error = ManifestError("manifests", problem, "choose one by its name")
    raise ManifestErrors([error])


def _belongs(
    pool: AgentPool, chosen: SyntheticPipeline, pipelines: Mapping[str, SyntheticPipeline]
) -> bool:
    """Whether to take the pool. One of no pipeline at all is taken: compiling names that fault."""
    wanted = pool.spec.pipeline_ref.name
    return wanted == chosen.metadata.name or wanted not in pipelines


def _resolve(
    pipeline: SyntheticPipeline, config_maps: Mapping[tuple[str, str], str]
) -> dict[str, str]:
    """The prompts' texts that stand in ConfigMaps, by the prompt's name."""
    refs = {
        prompt.name: (prompt.config_map_key_ref.name, prompt.config_map_key_ref.key)
        for prompt in pipeline.spec.prompts
        if prompt.config_map_key_ref is not None
    }
    return {name: config_maps[ref] for name, ref in refs.items() if ref in config_maps}


def _is_config_map(obj: Mapping[str, Any]) -> bool:
    return obj.get("kind") == "ConfigMap" and obj.get("apiVersion") == "v1"


def _texts(config_map: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    data = config_map.get("data")
    entries = data.items() if isinstance(data, Mapping) else []
    return {(name_of(config_map), key): text for key, text in entries if isinstance(text, str)}


def _is_foreign(obj: Mapping[str, Any]) -> bool:
    """Whether an object is none of ours, so far as it says what it is."""
    kind, version = obj.get("kind"), obj.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        return False
    return version.split("/")[0] != GROUP and kind not in KINDS
