"""From the resources as they are in the cluster to the Plan and its generation, or to faults."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import msgspec

from weft_api.errors import ManifestError, ManifestErrors
from weft_api.parse import parse_pipeline, parse_pool
from weft_api.pipeline import SyntheticPipeline
from weft_api.plan import Plan, compile_plan
from weft_api.pool import AgentPool
from weft_operator.facts import Observed
from weft_operator.jsontypes import dig
from weft_operator.store import text_digest

T = TypeVar("T")
LARGEST_PLAN: Final = 900 * 1024
"""Bytes. An object in etcd may have 1.5 MiB, a ConfigMap's data 1 MiB."""


@dataclass(frozen=True)
class Compiled:
    """`plan` is None where there are `faults`; so is `pipeline` where it cannot even be read."""

    pipeline: SyntheticPipeline | None
    pools: Mapping[str, AgentPool]
    plan: Plan | None
    text: str = ""
    """The Plan's JSON; empty without one."""
    changed: bool = False
    """Whether the Plan differs from the one that is out."""
    faults: tuple[ManifestError, ...] = ()

    @property
    def only_awaits(self) -> bool:
        """Whether other objects, which may just be on their way, can mend all the faults."""
        return bool(self.faults) and all(f.reason.endswith("Missing") for f in self.faults)

    @property
    def lines(self) -> str:
        return "\n".join(map(str, self.faults))


def compiled(seen: Observed) -> Compiled:
    """A generation rises with the Plan's content, and with nothing else."""
    made = _remembered(seen)
    if made.plan is None:
        return made
    out = seen.plan.generation if seen.plan is not None else 0
    latest = max(out, dig(seen.pipeline, "status", "planGeneration") or 0)
    plan, text = _numbered(made, max(latest, 1))
    changed = seen.plan is None or text_digest(text) != seen.plan.text_digest
    if changed and latest:
        plan, text = _numbered(made, latest + 1)
    return replace(made, plan=plan, text=text, changed=changed)


def _numbered(made: Compiled, generation: int) -> tuple[Plan, str]:
    assert made.plan is not None
    if generation == made.plan.generation:
        return made.plan, made.text
    plan = made.plan.model_copy(update={"generation": generation})
    return plan, plan.to_json()


_REMEMBERED: Final = 256
_REMEMBERED_BYTES: Final = 64 * 1024
"""Plans that are larger are made anew each time, so that all of them together stay small."""
_SOUND: Final = 16_384
_recent: dict[bytes, Compiled] = {}
"""By what they were made from; the one asked for last is the last. Most reconciles are about pods,
and find the manifests as they were."""
_sound: dict[bytes, None] = {}
"""What has been compiled without faults. To seek them takes most of the time, and of this much more
can be kept than of what was made: with a thousand pipelines that matters."""


def _remembered(seen: Observed) -> Compiled:
    parts = (
        seen.pipeline["metadata"].get("uid"),
        seen.pipeline["spec"],
        [(obj["metadata"]["name"], obj["spec"]) for obj in seen.pools],
        seen.prompt_maps,
    )
    key = hashlib.sha256(msgspec.json.encode(parts)).digest()
    made = _recent.pop(key, None) or _compiled(seen, checked=key in _sound)
    if len(made.text) <= _REMEMBERED_BYTES:
        _keep(_recent, key, made, _REMEMBERED)
    if made.plan is not None:
        _keep(_sound, key, None, _SOUND)
    return made


def _keep(kept: dict[bytes, T], key: bytes, value: T, most: int) -> None:
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > most:
        kept.pop(next(iter(kept)))


def _compiled(seen: Observed, *, checked: bool = False) -> Compiled:
    """With generation 1, and not yet held against what is out."""
    faults: list[ManifestError] = []
    pools: dict[str, AgentPool] = {}
    pipeline: SyntheticPipeline | None = None
    try:
        pipeline = parse_pipeline(seen.pipeline)
    except ManifestErrors as errors:
        faults += errors.errors
    for obj in seen.pools:
        try:
            pool = parse_pool(obj)
            pools[pool.metadata.name] = pool
        except ManifestErrors as errors:
            faults += errors.errors
    if pipeline is None or faults:
        return Compiled(pipeline, pools, None, faults=tuple(faults))
    texts, missing = _prompt_texts(pipeline, seen)
    if missing:
        return Compiled(pipeline, pools, None, faults=tuple(missing))
    try:
        plan = compile_plan(pipeline, list(pools.values()), prompt_texts=texts, checked=checked)
    except ManifestErrors as errors:
        return Compiled(pipeline, pools, None, faults=tuple(errors.errors))
    text = plan.to_json()
    if (size := len(text.encode())) > LARGEST_PLAN:
        fault = pipeline.fault(
            ("spec",),
            f"its Plan has {size >> 10} KiB, more than the {LARGEST_PLAN >> 10} KiB that a "
            "ConfigMap takes",
            "shorten prompts and configs",
        )
        return Compiled(pipeline, pools, None, faults=(fault,))
    return Compiled(pipeline, pools, plan, text)


def _prompt_texts(
    pipeline: SyntheticPipeline, seen: Observed
) -> tuple[dict[str, str], list[ManifestError]]:
    texts: dict[str, str] = {}
    missing: list[ManifestError] = []
    for index, prompt in enumerate(pipeline.spec.prompts):
        ref = prompt.config_map_key_ref
        if ref is None:
            continue
        data = seen.prompt_maps.get(ref.name)
        if data is not None and ref.key in data:
            texts[prompt.name] = data[ref.key]
            continue
        problem = (
            f'there is no ConfigMap "{ref.name}" in this namespace'
            if data is None
            else f'the ConfigMap "{ref.name}" has no key "{ref.key}"'
        )
        fix = (
            "create it"
            if not data
            else f"it has {', '.join(sorted(data)[:12])}; name one of them, or add it"
        )
        path = ("spec", "prompts", index, "configMapKeyRef")
        name = pipeline.metadata.name
        missing.append(
            ManifestError.at("SyntheticPipeline", name, path, problem, fix, reason="PromptMissing")
        )
    return texts, missing
