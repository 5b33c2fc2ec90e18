"""What people do to a pipeline. Each scenario waits for what must come of each step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from operator_tests.model.world import World
from operator_tests.samples import pipeline, pool
from weft_operator.jsontypes import Object, dig

Scenario = Callable[[World], Awaitable[None]]


async def create(world: World) -> None:
    """A pipeline with a misspelt field in its podTemplate, which costs a second write."""
    overlay = {"spec": {"priorityClasName": "typo"}}
    world.apply(pipeline(ray={"head": {"podTemplate": overlay}}), pool())
    await world.serves(2)


async def scale(world: World) -> None:
    world.apply(pipeline(), pool())
    await world.serves(2)
    world.merge("agentpools", "drafter", {"spec": {"replicas": 5}})
    await world.serves(5)
    world.merge("agentpools", "drafter", {"spec": {"replicas": 1}})
    await world.serves(1)


async def change_image(world: World) -> None:
    world.apply(pipeline(), pool(replicas=3, image="agents:1"))
    await world.serves(3)
    world.cluster.fewest_serving["drafter"] = 3
    await _roll(world, "agents:2")
    assert world.cluster.fewest_serving["drafter"] >= 3


async def change_image_twice(world: World) -> None:
    """The second time before the first is through."""
    world.apply(pipeline(), pool(replicas=3, image="agents:1"))
    await world.serves(3)
    world.cluster.fewest_serving["drafter"] = 3
    first = world.pool_status()["updateRevision"]
    world.merge("agentpools", "drafter", {"spec": {"image": "agents:2"}})
    await world.until(
        "the second revision is under way",
        lambda: world.pool_status().get("updateRevision") not in (None, first),
    )
    await _roll(world, "agents:3")
    assert world.cluster.fewest_serving["drafter"] >= 3


async def _roll(world: World, image: str) -> None:
    world.merge("agentpools", "drafter", {"spec": {"image": image}})
    await world.until(
        f"all agents are of {image}",
        lambda: (
            len({_revision(p) for p in _agents(world)}) == 1
            and world.pool_status().get("updatedReplicas") == 3
            and image in str(_agents(world))
        ),
        300,
    )
    await world.serves(3)


async def suspend_and_resume(world: World) -> None:
    world.apply(pipeline(), pool())
    await world.serves(2)
    world.merge("syntheticpipelines", "support", {"spec": {"suspend": True}})
    await world.until(
        "it sleeps without pods",
        lambda: world.status().get("phase") == "Suspended" and not world.pods(),
        200,
    )
    await world.rest()
    world.merge("syntheticpipelines", "support", {"spec": {"suspend": False}})
    await world.serves(2)


async def suspend_and_think_better_of_it(world: World) -> None:
    """It is resumed while it drains: the head, which will issue nothing more, begins anew."""
    world.apply(pipeline(), pool())
    await world.serves(2)
    first = {p["metadata"]["uid"] for p in world.pods()}
    world.merge("syntheticpipelines", "support", {"spec": {"suspend": True}})
    await world.until(
        "it drains, or sleeps already",
        lambda: world.cluster.done["drained"] or world.status().get("phase") == "Suspended",
    )
    world.merge("syntheticpipelines", "support", {"spec": {"suspend": False}})
    await world.until("there is another head", lambda: world.cluster.heads.keys() - first)
    await world.serves(2)


async def delete_and_make_again(world: World) -> None:
    world.apply(pipeline(), pool())
    await world.serves(2)
    world.delete("syntheticpipelines", "support")
    await world.until("nothing of it is left", lambda: not _remains(world))
    await world.rest()
    world.apply(pipeline())
    await world.serves(2)
    world.delete("syntheticpipelines", "support")
    world.delete("agentpools", "drafter")
    await world.until("nothing of it is left", lambda: not _remains(world))
    await world.rest()


async def change_what_is_live(world: World) -> None:
    """Prompts: in the manifest, and in a ConfigMap."""
    prompts = [{"name": "draft", "configMapKeyRef": {"name": "prompts", "key": "draft"}}]
    world.apply(_config_map("One."), pipeline(prompts=prompts), pool())
    await world.serves(2)
    for number, change in ((2, _config_map("Two.")), (3, _config_map("Three."))):
        world.apply(change)
        await world.until(
            f"plan {number} is out and the head has it",
            lambda n=number: world.cluster.done[f"plan {n} taken"] == 1,  # type: ignore[misc]
        )
        await world.rest()
    world.apply(pipeline(prompts=[{"name": "draft", "text": "Four."}]))
    await world.until("plan 4 is taken", lambda: world.cluster.done["plan 4 taken"] == 1)
    await world.rest()


async def finish(world: World) -> None:
    """To the end, and until the cluster is removed."""
    world.apply(pipeline(ttlSecondsAfterFinished=60), pool())
    await world.serves(2)
    world.dataset().allowed = 10
    await world.until("it has succeeded", lambda: world.status().get("phase") == "Succeeded")
    await world.until("its cluster is removed", lambda: not list(world.server.all("rayclusters")))
    await world.rest()


async def add_and_remove_pools(world: World) -> None:
    world.apply(pipeline(), pool())
    await world.serves(2)
    world.apply(pool(name="second", step="drafter", replicas=1))
    await world.serves(1, pool="second")
    world.delete("agentpools", "drafter")
    await world.until("its agents are gone", lambda: len(_agents(world)) == 1)
    await world.rest()


async def new_head(world: World) -> None:
    """What the head's pod is made from changes; then it is deleted by hand."""
    world.apply(pipeline(), pool())
    await world.serves(2)
    head = {"nodeSelector": {"disk": "fast"}}
    world.merge("syntheticpipelines", "support", {"spec": {"ray": {"head": head}}})
    await world.until(
        "head and writer are made anew",
        lambda: str([p for p in world.pods() if not _pool(p)]).count("'disk': 'fast'") == 2,
    )
    await world.serves(2)


async def lose_companions(world: World) -> None:
    """Somebody deletes the token's Secret and the NetworkPolicy: both are made anew, and so are all
    pods, since they know each other by the token. The rows that are committed stay."""
    world.apply(pipeline(), pool())
    await world.serves(2)
    before = {p["metadata"]["uid"] for p in world.pods()}
    await asyncio.sleep(30)
    world.delete("secrets", "support-weft-token")
    world.delete("networkpolicies", "support")
    await world.until(
        "all pods are made anew",
        lambda: (
            len(world.pods()) == 4 and not before & {p["metadata"]["uid"] for p in world.pods()}
        ),
        400,
    )
    await world.serves(2)


SCENARIOS: Final[dict[str, Scenario]] = {
    each.__name__: each
    for each in (
        create,
        scale,
        change_image,
        suspend_and_resume,
        delete_and_make_again,
        change_what_is_live,
        finish,
        add_and_remove_pools,
        new_head,
        lose_companions,
    )
}
"""Each step waits for the one before, so that the way to the end is always the same."""

RACING: Final[dict[str, Scenario]] = {
    each.__name__: each for each in (change_image_twice, suspend_and_think_better_of_it)
}
"""The end is always the same, the way to it is not."""


def _agents(world: World) -> list[Object]:
    return [p for p in world.pods() if _pool(p)]


def _pool(pod: Object) -> str:
    return dig(pod, "metadata", "labels", "weft.dev/pool") or ""


def _revision(pod: Object) -> str:
    return dig(pod, "metadata", "labels", "weft.dev/revision") or ""


def _remains(world: World) -> list[str]:
    kinds = ("rayclusters", "configmaps", "secrets", "networkpolicies", "pods")
    return ["/".join(id_) for id_ in world.server.objects if id_[0] in kinds]


def _config_map(text: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "prompts", "namespace": "team"},
        "data": {"draft": text},
    }
