"""One pipeline, once more: observe, decide, act."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from weft_operator.act import Actor, NameTaken
from weft_operator.api import CONFIG_MAPS, Api, ApiError
from weft_operator.companions import CompanionReader
from weft_operator.decide import statuses
from weft_operator.decide.conditions import State
from weft_operator.decide.decision import Decision, decide, missing_pipeline
from weft_operator.decide.scale import Memory
from weft_operator.facts import Companions, Key, Observed, Pod
from weft_operator.head_client import HeadClient, HeadError
from weft_operator.heads import Heads
from weft_operator.jsontypes import Object, dig
from weft_operator.kuberay import RayCluster
from weft_operator.metrics import RECONCILE_SECONDS, RECONCILES
from weft_operator.settings import Settings
from weft_operator.store import Store

log = logging.getLogger(__name__)

REPORT_SECONDS: Final = 1.0
"""From making a cluster to the first report about it."""
LEAVING_SECONDS: Final = 30.0
"""In a namespace that is being deleted there is nothing to do, unless that takes long."""
CONFLICT_SECONDS: Final = 0.3
"""After a write that was refused because things had changed; the watch brings the change."""


class Reconciler:
    """`reconcile` may be called for any key at any time, as often as one likes."""

    def __init__(
        self,
        api: Api,
        store: Store,
        settings: Settings,
        heads: Heads,
        client: HeadClient,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._store = store
        self._settings = settings
        self._heads = heads
        self._client = client
        self._clock = clock
        self._actor = Actor(api, store, settings.identity)
        with_policies = settings.defaults.callers is not None
        self._companions = CompanionReader(api, network_policies=with_policies)
        self._with_prompt_maps: set[Key] = set()
        self._memories: dict[Key, dict[str, Memory]] = {}
        self._counters_written: dict[Key, float] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Seconds until it is due again without anything happening; None: not at all."""
        outcome = "error"
        with RECONCILE_SECONDS.time():
            try:
                again = await self._once(key)
                outcome = "ok"
            except ApiError as error:
                if error.status != 409:
                    raise
                outcome, again = "conflict", CONFLICT_SECONDS
                log.debug("%s/%s: %s", *key, error)
            finally:
                RECONCILES.labels(outcome).inc()
        return again

    async def _once(self, key: Key) -> float | None:
        seen = await self._observe(key)
        if seen is None:
            return await self._without_pipeline(key)
        decision = decide(seen, self._settings.defaults, self._memories.get(key))
        if decision.memories:
            self._memories[key] = dict(decision.memories)
        pools = {obj["metadata"]["name"]: obj for obj in seen.pools}
        try:
            made = await self._actor.carry_out(decision, seen.pipeline)
        except NameTaken as error:
            decision = _stalled(seen, "NameTaken", str(error))
        except ApiError as error:
            if error.namespace_leaves:
                return LEAVING_SECONDS
            if error.status not in (400, 403, 404, 422):
                raise
            # Neither time nor a retry mends these; somebody has to read why.
            decision = _stalled(seen, _refusal(error), f"the API server refused a write: {error}")
        if decision.create is not None:
            # Clusters first: in a burst, the others' are made before this one's status is written,
            # and that tells of its pods as well then.
            cluster = self._store.clusters.get(key)
            if made is not None and cluster is not None:
                self._companions.made(key, cluster.open()["metadata"]["uid"], made)
            return REPORT_SECONDS
        unheard: HeadError | None = None
        if decision.hand_plan:
            # Before the reports: people wait for what they have changed to take effect.
            try:
                decision = await self._hand_plan(key, seen, decision)
            except HeadError as error:
                unheard = error
        again = self._postpone_counters(key, seen, decision)
        await self._actor.report(again[0], seen.pipeline, pools)
        self._heads.follow(key, decision.polls)
        if unheard is not None:
            raise unheard
        if decision.drain:
            await self._drain(key)
        # One step at a time, and the echo of one's own write is no news: look what is next.
        steps = (decision.replace, decision.token, decision.network_policy)
        stepped = REPORT_SECONDS if any(step is not None for step in steps) else None
        due = (decision.again_in, again[1], self._prompt_check(seen), stepped)
        return min((t for t in due if t is not None), default=None)

    def forget(self, key: Key) -> None:
        """The pipeline is gone."""
        self._memories.pop(key, None)
        self._counters_written.pop(key, None)
        self._heads.forget(key)
        self._companions.forget(key)
        self._with_prompt_maps.discard(key)

    async def _observe(self, key: Key) -> Observed | None:
        store = self._store
        packed = store.pipelines.get(key)
        if packed is None:
            return None
        pipeline = packed.open()
        cluster = store.clusters.get(key)
        made = RayCluster.from_object(cluster.open()) if cluster is not None else None
        pods = store.pods.of(key)
        return Observed(
            key=key,
            now=self._clock(),
            pipeline=pipeline,
            pools=tuple(pool.open() for pool in store.pools.of(key)),
            cluster=made,
            plan=store.plan_of(key),
            pods=tuple(pods),
            nodes=tuple(store.nodes.values()) if self._settings.watch_nodes else None,
            companions=await self._companions_of(key, made, pods) if made is not None else None,
            head=self._heads.status_of(key),
            head_unasked=self._heads.is_unasked(key),
            prompt_maps=await self._prompt_maps(key[0], pipeline),
        )

    async def _companions_of(
        self, key: Key, cluster: RayCluster, pods: Sequence[Pod]
    ) -> Companions:
        doubtful = self._heads.is_shut_out(key) or any(pod.trouble for pod in pods)
        return await self._companions.of(key, cluster.uid, doubtful=doubtful)

    async def _prompt_maps(
        self, namespace: str, pipeline: Object
    ) -> dict[str, dict[str, str] | None]:
        """Read each time: to watch all ConfigMaps of a cluster for the sake of a few costs more."""
        found: dict[str, dict[str, str] | None] = {}
        for name in _prompt_map_names(pipeline):
            obj = await self._api.get(CONFIG_MAPS, namespace, name)
            found[name] = None if obj is None else dict(obj.get("data") or {})
        return found

    def _prompt_check(self, seen: Observed) -> float | None:
        """The more pipelines there are that ask for it, the less often each is looked after."""
        self._with_prompt_maps.discard(seen.key)
        if not seen.prompt_maps:
            return None
        self._with_prompt_maps.add(seen.key)
        reads = len(self._with_prompt_maps) / self._settings.prompt_reads_per_second
        return max(self._settings.prompt_seconds, reads)

    async def _without_pipeline(self, key: Key) -> float | None:
        self.forget(key)
        pools = {
            obj["metadata"]["name"]: obj
            for obj in (packed.open() for packed in self._store.pools.of(key))
        }
        reported, events, wait = missing_pipeline(key[1], list(pools.values()), self._clock())
        if reported:
            decision = Decision(pool_statuses=reported, events=events)
            await self._actor.report(decision, {}, pools)
        return wait

    def _postpone_counters(
        self, key: Key, seen: Observed, decision: Decision
    ) -> tuple[Decision, float | None]:
        """Counters alone are written every few seconds at most."""
        if decision.status is None:
            return decision, None
        now = self._clock()
        if statuses.only_counters_moved(seen.pipeline.get("status") or {}, decision.status):
            left = self._counters_written.get(key, 0.0) + statuses.COUNTER_SECONDS - now
            if left > 0:
                return Decision(**{**vars(decision), "status": None}), left
        self._counters_written[key] = now
        return decision, None

    async def _drain(self, key: Key) -> None:
        head, token = self._heads.pod_of(key), await self._heads.token_of(key)
        if head is not None and token is not None:
            await self._client.drain(head, token)
            await self._heads.ask_now(key)

    async def _hand_plan(self, key: Key, seen: Observed, decision: Decision) -> Decision:
        """The decision as it stands when the head has answered. Raises `HeadError`."""
        head = self._heads.pod_of(key)
        token = await self._heads.token_of(key)
        if head is None or token is None:
            return decision
        try:
            await self._client.put_plan(head, token, decision.hand_plan)
        except HeadError as error:
            if error.status not in (400, 422):
                raise
            said = await self._client.status(head, token)
            if said.plan_generation < decision.plan_generation:
                # It goes on by the one that it has.
                phase = dig(seen.pipeline, "status", "phase") or "Starting"
                told = _stalled(seen, "PlanRefused", str(error), phase=phase)
                return replace(
                    decision, status=told.status, events=told.events, again_in=told.again_in
                )
            # It has it from an earlier try, whose answer was lost.
        # Else what comes next would still go by what it said before, and hand it out once more.
        await self._heads.ask_now(key)
        return decision


def _prompt_map_names(pipeline: Object) -> list[str]:
    prompts = dig(pipeline, "spec", "prompts") or ()
    named = (dig(prompt, "configMapKeyRef", "name") for prompt in prompts)
    return list(dict.fromkeys(name for name in named if name))


def _refusal(error: ApiError) -> str:
    if error.status == 403:
        return "Forbidden"
    return "KubeRayMissing" if error.status == 404 else "Refused"


def _stalled(seen: Observed, reason: str, message: str, *, phase: str = "Stalled") -> Decision:
    state = State(reason, message, stalled=True)
    status = statuses.pipeline_status(seen, phase, state)
    if status == (seen.pipeline.get("status") or {}):
        return Decision(again_in=30.0)
    events = tuple(statuses.announcements(seen.pipeline, status))
    return Decision(status=status, events=events, again_in=30.0)
