"""The rights that the chart grants are those that the operator uses: no more, and no less.

What it uses is what it asks the model for, over all that people do in the scenarios.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from operator_tests.apiserver import ROOT
from operator_tests.model import virtual_time
from operator_tests.model.life import Gate
from operator_tests.model.scenarios import SCENARIOS, create
from operator_tests.model.virtual_time import VirtualTime
from operator_tests.model.world import World
from operator_tests.test_reconcile import Rival

Right = tuple[str, str, str]
"""API group, resource (with its subresource), verb."""

WATCHED = (
    ("weft.dev", "syntheticpipelines"),
    ("weft.dev", "agentpools"),
    ("ray.io", "rayclusters"),
    ("", "pods"),
    ("", "configmaps"),
    ("", "nodes"),
)
"""By Kopf, which the model stands for here; `handlers.Intake.register` names the same."""


def test_the_operator_is_granted_what_it_uses() -> None:
    used = {right for scenario in SCENARIOS for right in _used(scenario)} | set(_used_in_a_race())
    used |= {(group, resource, "watch") for group, resource in WATCHED}
    granted = set(_granted())
    assert granted - used == set(), "granted, and never used"
    assert used - granted == set(), "used, and not granted"


def _used(scenario: str) -> set[Right]:
    async def main(time: VirtualTime) -> set[Right]:
        async with World(time, lambda _: Gate()) as world:
            await SCENARIOS[scenario](world)
            return set(_rights(world))

    return virtual_time.run(main)


def _used_in_a_race() -> set[Right]:
    """Somebody changes the cluster between the operator's look and its write."""

    async def main(time: VirtualTime) -> set[Right]:
        rival = Rival()
        async with World(time, lambda _: rival) as world:
            await create(world)
            rival.change, rival.world = {"spec": {"rayVersion": "0.0.1"}}, world
            world.merge("agentpools", "drafter", {"spec": {"replicas": 3}})
            await world.serves(3)
            return set(_rights(world))

    return virtual_time.run(main)


def _rights(world: World) -> Iterator[Right]:
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    for gate in world.gates:
        for method, path in gate.asked:
            if path.startswith("head:"):
                continue
            parts = path.strip("/").split("/")
            group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
            if rest[:1] == ["namespaces"]:
                rest = rest[2:]
            resource, name, subresource = (*rest, "", "")[:3]
            verb = verbs.get(method) or ("get" if name else "list")
            yield group, f"{resource}/{subresource}".rstrip("/"), verb


def _granted() -> Iterator[Right]:
    """By the ClusterRoles of the operator, in what `config/render` makes of the chart."""
    text = (ROOT / "config" / "operator" / "operator.yaml").read_text()
    roles = [
        each
        for each in yaml.load_all(text, Loader=yaml.CSafeLoader)
        if each and each["kind"] == "ClusterRole"
    ]
    bound = [role for role in roles if not role["metadata"]["name"].endswith(("-view", "-edit"))]
    assert bound
    for role in bound:
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        yield group, resource, verb
