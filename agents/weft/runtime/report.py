"""The members of a run, as its status shows them."""

from __future__ import annotations

from weft.protocol.view import Role
from weft.runtime.registry import Registry
from weft.runtime.status import InstanceStatus, PoolStatus, Stats
from weft_api.plan import Plan


def pool_statuses(plan: Plan, registry: Registry | None) -> list[PoolStatus]:
    return [
        PoolStatus(pool.name, pool.step, instances(registry, "agent", pool.name))
        for pool in plan.pools
    ]


def instances(registry: Registry | None, role: Role, pool: str = "") -> list[InstanceStatus]:
    """The members of a role, by name."""
    if registry is None:
        return []
    found = []
    for incarnation, member in registry.directory.members.items():
        if (member.role, member.pool) != (role, pool):
            continue
        stats = registry.stats.get(incarnation) or Stats()
        found.append(
            InstanceStatus(
                member.name,
                member.revision,
                "draining" if member.draining else stats.state,
                stats.inbox,
                stats.in_flight,
                stats.hops,
                stats.seconds,
                stats.prompt_tokens,
                stats.completion_tokens,
                stats.rss,
                stats.trouble,
                stats.plan,
            )
        )
    return sorted(found, key=lambda instance: instance.name)
