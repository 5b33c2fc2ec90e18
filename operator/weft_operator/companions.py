"""Looks whether what goes with a RayCluster is still there: the token's Secret, the NetworkPolicy.

Read by name and seldom. A right to watch Secrets would be one to read those of the whole cluster.
"""

from __future__ import annotations

import time
from typing import Final

from weft_operator import names
from weft_operator.api import NETWORK_POLICIES, SECRETS, Api
from weft_operator.facts import Companions, Key, seconds

KEPT_SECONDS: Final = 120.0
"""How long an answer counts …"""
DOUBTED_SECONDS: Final = 5.0
"""… and while something points to a loss."""


class CompanionReader:
    """`of` gives what was found last, or looks."""

    def __init__(self, api: Api, *, network_policies: bool) -> None:
        self._api = api
        self._network_policies = network_policies
        self._found: dict[Key, tuple[str, float, Companions]] = {}

    async def of(self, key: Key, cluster_uid: str, *, doubtful: bool) -> Companions:
        """Raises `ApiError`."""
        uid, at, found = self._found.get(key, ("", 0.0, _NONE))
        is_complete = found.token_made > 0 and found.network_policy
        lasts = DOUBTED_SECONDS if doubtful else KEPT_SECONDS
        if uid == cluster_uid and is_complete and time.monotonic() - at < lasts:
            return found
        found = await self._look(key)
        self._found[key] = (cluster_uid, time.monotonic(), found)
        return found

    def made(self, key: Key, cluster_uid: str, found: Companions) -> None:
        """What has just been made with a cluster need not be looked for."""
        self._found[key] = (cluster_uid, time.monotonic(), found)

    def forget(self, key: Key) -> None:
        self._found.pop(key, None)

    async def _look(self, key: Key) -> Companions:
        namespace, name = key
        secret = await self._api.get(SECRETS, namespace, names.token_secret(name))
        made = 0.0 if secret is None else seconds(secret["metadata"].get("creationTimestamp"))
        policy = True
        if self._network_policies:
            policy = await self._api.get(NETWORK_POLICIES, namespace, name) is not None
        return Companions(made, policy)


_NONE: Final = Companions(0.0, network_policy=False)
