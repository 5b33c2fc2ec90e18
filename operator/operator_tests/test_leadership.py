"""The Lease, on a real API server."""

from __future__ import annotations

import asyncio

import pytest

from weft_operator.api import LEASES, Api
from weft_operator.leadership import Leadership, Times

pytestmark = pytest.mark.cluster

QUICK = Times(duration=2.0, deadline=1.2, retry=0.2, renew=0.3)


def replica(api: Api, namespace: str, identity: str) -> Leadership:
    return Leadership(api, namespace=namespace, name="lease", identity=identity, times=QUICK)


async def holder(api: Api, namespace: str) -> str:
    lease = await api.get(LEASES, namespace, "lease")
    assert lease is not None
    return str(lease["spec"]["holderIdentity"])


async def test_only_one_leads_and_the_other_takes_over_when_it_falls_silent(
    api: Api, namespace: str
) -> None:
    first, second = replica(api, namespace, "first"), replica(api, namespace, "second")
    await asyncio.wait_for(first.acquire(), 5)
    holding = asyncio.create_task(first.hold())
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(3)
    assert not waiting.done(), "as long as it is renewed nobody else leads"
    holding.cancel()
    await asyncio.wait_for(waiting, 8)
    assert await holder(api, namespace) == "second"


async def test_a_lease_that_is_handed_back_is_taken_at_once(api: Api, namespace: str) -> None:
    slow = Times(duration=3600, deadline=8, retry=0.2)
    first = Leadership(api, namespace=namespace, name="lease", identity="first", times=slow)
    await asyncio.wait_for(first.acquire(), 5)
    await first.release()
    second = replica(api, namespace, "second")
    await asyncio.wait_for(second.acquire(), 5)
    assert await holder(api, namespace) == "second"


async def test_a_leader_whose_lease_was_taken_stops_leading(api: Api, namespace: str) -> None:
    first = replica(api, namespace, "first")
    await asyncio.wait_for(first.acquire(), 5)
    lease = await api.get(LEASES, namespace, "lease")
    assert lease is not None
    lease["spec"]["holderIdentity"] = "thief"
    await api.replace(LEASES, lease)
    await asyncio.wait_for(first.hold(), 5)


async def test_a_leader_that_cannot_reach_the_api_gives_up_before_another_may_lead(
    api: Api, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = replica(api, namespace, "first")
    await asyncio.wait_for(first.acquire(), 5)
    started = asyncio.get_running_loop().time()

    async def silence(*_: object) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(api, "get", silence)
    monkeypatch.setattr(api, "replace", silence)
    await asyncio.wait_for(first.hold(), 5)
    assert asyncio.get_running_loop().time() - started < QUICK.duration
