"""Which changes of a Plan a running pipeline can take up, and which it cannot. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weft_api.errors import ManifestError, Path
from weft_api.plan import Plan, PoolPlan

ANOTHER = "make a pipeline of another name for that"
RESTART = "end the run (Ctrl-C drains it) and start weft run again"

_NEEDS_PODS = (
    "resources, nodeSelector, tolerations, podTemplate, serviceAccountName, imagePullSecrets or env"
)


def lasting(before: Plan, after: Plan) -> list[ManifestError]:
    """What no pipeline can change while its output is the same: a fault for each such field."""
    pairs: list[tuple[Path, Any, Any]] = [
        (("spec", "source", "dataset"), before.source.dataset, after.source.dataset),
        (("spec", "source", "generate"), before.source.generate, after.source.generate),
        (("spec", "output", "uri"), before.output.uri, after.output.uri),
    ]
    return [_pipeline(after, path, was, now, ANOTHER) for path, was, now in pairs if was != now]


def rolled(before: Plan, after: Plan) -> list[ManifestError]:
    """What takes new processes, so that a run on one machine cannot take it up while it goes on.
    (On a cluster the operator starts new pods.)"""
    was, now = before.delivery, after.delivery
    found = [
        _pipeline(after, ("spec", *path), old, new, RESTART)
        for path, old, new in (
            (("delivery", "writers"), was.writers, now.writers),
            (("delivery", "lease"), f"{was.lease_seconds:g}s", f"{now.lease_seconds:g}s"),
            (("seed",), before.seed, after.seed),
        )
        if old != new
    ]
    old_pools = {pool.name: pool for pool in before.pools}
    new_pools = {pool.name: pool for pool in after.pools}
    for name in sorted(old_pools.keys() | new_pools.keys()):
        old_pool, new_pool = old_pools.get(name), new_pools.get(name)
        if old_pool is None or new_pool is None:
            verb = "added" if old_pool is None else "taken away"
            found.append(
                _fault("AgentPool", name, ("metadata", "name"), f"a pool cannot be {verb}", RESTART)
            )
        else:
            found += _pool(old_pool, new_pool)
    return found


def _pool(before: PoolPlan, after: PoolPlan) -> Iterator[ManifestError]:
    """The fields of a pool that need new processes."""
    pairs = [
        (("step",), before.step, after.step),
        (("agent",), before.agent, after.agent),
        (("image",), before.image, after.image),
        (("engine",), before.engine, after.engine),
        (("gpu",), before.gpu, after.gpu),
        (("replicas",), before.replicas, after.replicas),
    ]
    changed = [(path, was, now) for path, was, now in pairs if was != now]
    for path, was, now in changed:
        problem = f"{path[-1]} cannot change while it runs{_from_to(was, now)}"
        yield _fault("AgentPool", after.name, ("spec", *path), problem, RESTART)
    if before.revision != after.revision and not any(
        path[0] in ("agent", "image", "engine", "gpu") for path, _, _ in changed
    ):
        problem = f"one of {_NEEDS_PODS} has changed, which needs new pods"
        yield _fault("AgentPool", after.name, ("spec",), problem, RESTART)


def _pipeline(after: Plan, path: Path, was: Any, now: Any, fix: str) -> ManifestError:
    problem = f"{path[-1]} cannot change while it runs{_from_to(was, now)}"
    return _fault("SyntheticPipeline", after.pipeline, path, problem, fix)


def _fault(kind: str, name: str, path: Path, problem: str, fix: str) -> ManifestError:
    return ManifestError.at(kind, name, path, problem, fix)


def _from_to(was: Any, now: Any) -> str:
    """` (4 -> 8)` where both are short enough to be read."""
    if isinstance(was, str | int) and isinstance(now, str | int):
        text = f" ({was or 'none'} -> {now or 'none'})"
        return text if len(text) <= 200 else ""
    return ""
