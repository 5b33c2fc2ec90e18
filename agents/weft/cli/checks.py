"""From manifests to a Plan, with all that data and code can tell about it: `weft validate`.

Nothing is written, and no endpoint is asked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from weft.agent import Agent
from weft.cli.refused import parted
from weft.data.errors import SourceError
from weft.data.source import SourceInfo, inspect
from weft.data.storage import from_environment
from weft.governance.make import check_rules
from weft.loading import LoadError, agent_class, config_faults
from weft.prompts.needed import fields_needed
from weft.prompts.render import PromptError, Prompts, compiled
from weft.row import VIEW_NAMES
from weft.tools.make import make_tools
from weft_api.errors import ManifestError, ManifestErrors, did_you_mean
from weft_api.errors import Path as FieldPath
from weft_api.flow import BRANCH, divides
from weft_api.load import Manifests, load, located
from weft_api.plan import Known, Plan, Source
from weft_api.pool import AgentPool
from weft_api.source import SUFFIXES

_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


@dataclass(frozen=True)
class Checked:
    """Manifests without a fault, so far as can be told without running them."""

    manifests: Manifests
    plan: Plan
    source: SourceInfo
    cautions: list[ManifestError] = field(default_factory=list)
    """What is allowed but may not do what is meant."""

    @property
    def rows(self) -> int | None:
        """Rows that are to be made; None where only reading the source tells."""
        rows, limit = self.source.rows, self.plan.source.limit
        return rows if rows is None or limit is None else min(rows, limit)

    @property
    def import_from(self) -> list[Path]:
        """Where the agents' own modules may lie."""
        return [self.manifests.folder]


@dataclass
class _Findings:
    """What was learned of the agents, and the faults met on the way."""

    faults: list[ManifestError] = field(default_factory=list)
    fields: dict[str, frozenset[str]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    cautions: list[ManifestError] = field(default_factory=list)


def read(paths: Iterable[str], pipeline: str | None = None) -> Manifests:
    """Raises `ManifestErrors` with all faults of single objects."""
    return load(paths, pipeline=pipeline)


def check(manifests: Manifests) -> Checked:
    """Raises `ManifestErrors` with all faults of source, agents, prompts, tools and flow."""
    found = _Findings()
    info = _source(manifests, found)
    _agents(manifests, found)
    known = Known(
        info.columns if info else None,
        # A step without a pool is one fault; what its agent would set is not known.
        found.fields if _is_served(manifests) else {},
        found.configs,
    )
    found.faults += _prompts(manifests, _names_of_rows(manifests, known))
    found.faults += _tools(manifests)
    found.faults += _governance(manifests)
    plan: Plan | None = None
    try:
        plan = manifests.compile(known=known)
    except ManifestErrors as errors:
        found.faults += errors.errors
    if plan is None or info is None or found.faults:
        raise ManifestErrors(located(found.faults, manifests.origins))
    return Checked(manifests, plan, info, list(located(found.cautions, manifests.origins)))


def described(plan: Plan) -> str:
    """`pipeline support: 4 steps, 4 pools, 5 prompts, 6 tools`."""
    counts = {
        "step": len(plan.flow.steps),
        "pool": len(plan.pools),
        "prompt": len(plan.prompts),
        "tool": len(plan.tools),
    }
    parts = [f"{n} {word}{'' if n == 1 else 's'}" for word, n in counts.items() if n]
    return f"pipeline {plan.pipeline}: {', '.join(parts)}"


def _source(manifests: Manifests, found: _Findings) -> SourceInfo | None:
    pipeline = manifests.pipeline
    dataset, generate = pipeline.spec.source.dataset, pipeline.spec.source.generate
    if dataset is not None:
        format = dataset.format or SUFFIXES.get(PurePosixPath(dataset.uri).suffix)
        uri = manifests.absolute(dataset.uri)
        dataset = dataset.model_copy(update={"uri": uri, "format": format})
    if (dataset is None) == (generate is None) or (dataset and dataset.format is None):
        return None  # Compiling tells.
    try:
        return inspect(Source(dataset=dataset, generate=generate), from_environment())
    except SourceError as error:
        problem, fix = parted(str(error), "correct the uri, or put the data there")
        path = ("spec", "source", "dataset", "idField" if "(idField)" in problem else "uri")
        found.faults.append(pipeline.fault(path, problem, fix))
        return None


def _agents(manifests: Manifests, found: _Findings) -> None:
    folder = str(manifests.folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    for pool in manifests.pools:
        try:
            cls = agent_class(pool.spec.agent)
        except LoadError as error:
            fix = "correct the name"
            found.faults.append(pool.fault(("spec", "agent"), *parted(str(error), fix)))
            continue
        lines = config_faults(cls, pool.spec.config, "spec.config")
        found.faults += [_config_fault(pool, line) for line in lines]
        if not lines:
            _learn(pool, cls, found)


def _learn(pool: AgentPool, cls: type[Agent], found: _Findings) -> None:
    name = pool.metadata.name
    config = cls.Config.model_validate(pool.spec.config, by_name=False)
    found.configs[name] = config.model_dump(by_alias=True)
    try:
        found.fields[name] = frozenset(cls.fields_of(config))
        found.cautions += [_config_fault(pool, f"spec.config.{line}") for line in config.cautions()]
    except Exception as error:
        problem = f"{cls.__name__}.fields_of or cautions failed: {type(error).__name__}: {error}"
        fix = "correct the agent's class"
        found.faults.append(pool.fault(("spec", "agent"), " ".join(problem.split()), fix))


def _config_fault(pool: AgentPool, line: str) -> ManifestError:
    where, _, text = line.partition(": ")
    path: FieldPath = tuple(
        int(number) if number else name for number, name in _PART.findall(where)
    )
    return pool.fault(path, *parted(text, "correct it"))


def _is_served(manifests: Manifests) -> bool:
    return {step.name for step in manifests.pipeline.spec.flow.steps} <= {
        pool.step for pool in manifests.pools
    }


def _names_of_rows(manifests: Manifests, known: Known) -> frozenset[str] | None:
    """What a row may have anywhere in the flow; None unless all of it is known."""
    if known.columns is None or len(known.fields) < len(manifests.pools):
        return None
    in_branches = {BRANCH} if divides(manifests.pipeline.spec.flow.steps) else set()
    return known.columns.union(VIEW_NAMES, in_branches, *known.fields.values())


def _prompts(manifests: Manifests, names: frozenset[str] | None) -> Iterator[ManifestError]:
    pipeline = manifests.pipeline
    for at, prompt in enumerate(pipeline.spec.prompts):
        text = prompt.text or manifests.prompt_texts.get(prompt.name) or ""
        path = ("spec", "prompts", at, "text" if prompt.text else "configMapKeyRef")
        try:
            compiled(prompt.name, text)
        except PromptError as error:
            yield pipeline.fault(path, *parted(str(error), "correct the template"))
            continue
        if names is None:
            continue
        for missing in sorted(fields_needed(text) - names):
            problem = f"names row.{missing}, which neither the source nor an agent gives"
            yield pipeline.fault(path, problem, did_you_mean(missing, names))


def _tools(manifests: Manifests) -> Iterator[ManifestError]:
    pipeline = manifests.pipeline
    for at, tool in enumerate(pipeline.spec.tools):
        if tool.python is None:
            continue  # What a simulated tool may lack, the manifest alone tells.
        try:
            make_tools([tool], Prompts([]))
        except LoadError as error:
            problem, fix = parted(
                str(error).removeprefix(f"tools[{tool.name}]: "), "correct the name"
            )
            yield pipeline.fault(("spec", "tools", at, "python"), problem, fix)


def _governance(manifests: Manifests) -> Iterator[ManifestError]:
    """Patterns, functions and models that the rules name."""
    pipeline = manifests.pipeline
    for at, rule in enumerate(pipeline.spec.governance):
        try:
            check_rules([rule])
        except LoadError as error:
            text = str(error).removeprefix(f"governance[{rule.name}]: ")
            yield pipeline.fault(("spec", "governance", at), *parted(text, "correct the name"))
