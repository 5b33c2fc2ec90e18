"""All that can go wrong before a run starts, found before Ray is started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

from weft.cli import engines, servers
from weft.cli.checks import Checked, check, read
from weft.cli.refused import Refused, parted
from weft.data.errors import OutputError
from weft.data.injected import InjectedRows
from weft.data.storage import absolute, from_environment, local_path
from weft.data.table import OutputTable
from weft_api.errors import ManifestError, ManifestErrors
from weft_api.load import Manifests, located
from weft_api.plan import Plan


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for besides the manifests."""

    output: str | None = None
    limit: int | None = None
    engine: engines.Flags | None = None

    def to_json(self) -> dict[str, Any]:
        """As `weft apply` finds them, from whatever working directory."""
        output = None if self.output is None else absolute(self.output)
        engine = None if self.engine is None else asdict(self.engine)
        return {"output": output, "limit": self.limit, "engine": engine}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Wishes:
        engine = kept.get("engine")
        flags = engines.Flags(**engine) if engine else None
        return cls(kept.get("output"), kept.get("limit"), flags)


@dataclass(frozen=True)
class Prepared:
    """A run that can start."""

    checked: Checked
    wishes: Wishes
    done: dict[str, int]
    """Rows found committed, by status."""
    complete: bool
    """Every row of the source is among them: nothing is left to do."""

    @property
    def plan(self) -> Plan:
        return self.checked.plan

    @property
    def simulated(self) -> bool:
        """Every engine is the simulator."""
        kinds = {pool.engine.kind for pool in self.plan.pools if pool.engine}
        return kinds == {"simulator"}


def prepare(paths: tuple[str, ...], pipeline: str | None, wishes: Wishes) -> Prepared:
    """Checks everything and makes the output, if there is none yet.

    Raises `ManifestErrors` and `Refused`."""
    return _opened(ready(read(paths, pipeline), wishes), wishes)


def ready(manifests: Manifests, wishes: Wishes) -> Checked:
    """Everything but the output is there. Raises `ManifestErrors` and `Refused`."""
    checked = wanted(manifests, wishes)
    manifests = checked.manifests
    faults = list(_unserved(checked))
    pools = [pool for pool in manifests.pools if pool.spec.replicas]
    faults += engines.unavailable(pools, by_flag=wishes.engine is not None)
    faults += servers.unusable(manifests, os.environ)
    if faults:
        raise ManifestErrors(located(faults, manifests.origins))
    return checked


def wanted(manifests: Manifests, wishes: Wishes) -> Checked:
    """The manifests as the command line wants them, checked. Raises `ManifestErrors`, `Refused`."""
    if wishes.output is not None:
        manifests = _with_output(manifests, wishes.output)
    if wishes.engine is not None:
        manifests = engines.put_in_place(manifests, wishes.engine)
    checked = check(manifests)
    if wishes.limit is not None:
        source = checked.plan.source.model_copy(update={"limit": wishes.limit})
        plan = checked.plan.model_copy(update={"source": source})
        checked = replace(checked, plan=plan)
    return checked


def _unserved(checked: Checked) -> Iterator[ManifestError]:
    """Steps whose pools are all at 0 replicas: rows would wait there for ever."""
    for step in checked.plan.flow.steps:
        names = [pool.name for pool in checked.plan.pools_of(step.name)]
        pools = [pool for pool in checked.manifests.pools if pool.metadata.name in names]
        if not any(pool.spec.replicas for pool in pools):
            problem = f'nobody serves step "{step.name}": its pools have 0 replicas'
            yield pools[0].fault(("spec", "replicas"), problem, "set replicas to 1 or more")


def _with_output(manifests: Manifests, uri: str) -> Manifests:
    path = local_path(uri)
    spec = manifests.pipeline.spec
    output = spec.output.model_copy(update={"uri": uri if path is None else str(path)})
    spec = spec.model_copy(update={"output": output})
    return replace(manifests, pipeline=manifests.pipeline.model_copy(update={"spec": spec}))


def _opened(checked: Checked, wishes: Wishes) -> Prepared:
    plan = checked.plan
    try:
        table = OutputTable.open(
            plan.output.uri,
            from_environment(os.environ),
            pipeline=plan.pipeline,
            uid=plan.uid,
            partitions=plan.delivery.writers,
            source=checked.source.fingerprint,
        )
        try:
            done = table.counts()
            complete = _is_complete(checked, table, done)
        finally:
            table.close()
    except OutputError as error:
        problem, fix = parted(str(error), "choose another place with --output")
        if wishes.output is not None:
            raise Refused(f"--output: {problem}; {fix}") from None
        pipeline = checked.manifests.pipeline
        fault = pipeline.fault(("spec", "output", "uri"), problem, fix)
        raise ManifestErrors(located([fault], checked.manifests.origins)) from None
    return Prepared(checked, wishes, done, complete)


def _is_complete(checked: Checked, table: OutputTable, done: Mapping[str, int]) -> bool:
    """Looked up row by row, but only where the counts allow it: the source may have changed."""
    target = checked.plan.output.target_rows
    if target is not None:
        return done["accepted"] >= target
    rows = checked.rows
    if rows is None or sum(done.values()) < rows:
        return False
    committed = table.committed()
    injected = InjectedRows(table.uri, checked.plan.source, from_environment(os.environ))
    injected.load()
    return all(row in committed for row in chain(range(rows), injected.keys()))
