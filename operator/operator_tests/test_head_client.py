"""Talking to a head over real HTTP, on a loopback address of its own with the real port."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from weft_operator.facts import Pod
from weft_operator.head_client import HeadClient, HeadError
from weft_operator.names import HEAD_PORT

STATUS = {
    "pipeline": "support",
    "phase": "Running",
    "planGeneration": 3,
    "message": "",
    "rows": {"total": 500, "accepted": 10, "rejected": 2, "dead": 0, "inFlight": 64},
    "tokens": {"prompt": 5, "completion": 6},
    "pools": [
        {
            "name": "drafter",
            "step": "drafter",
            "instances": [
                {"name": "pod-1", "revision": "r1", "state": "serving", "inbox": 3, "inFlight": 4}
            ],
        }
    ],
    "output": {"uri": "/data/out", "version": 7},
    "started": 1790000000.0,
}


def pod(address: str) -> Pod:
    meta = {"name": "support-head-1", "namespace": "team", "uid": "u1"}
    return Pod.from_object({"metadata": meta, "status": {"podIP": address}})


@contextlib.asynccontextmanager
async def head(address: str, answer: web.Response, asked: list[str]) -> AsyncIterator[None]:
    async def handle(request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "")
        asked.append(f"{request.method} {request.path} {token} {await request.text()}".strip())
        return answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, address, HEAD_PORT).start()
    try:
        yield
    finally:
        await runner.cleanup()


@pytest.fixture
async def client() -> AsyncIterator[HeadClient]:
    made = HeadClient()
    yield made
    await made.close()


async def test_the_status_is_read_as_agreed(client: HeadClient) -> None:
    asked: list[str] = []
    async with head("127.7.0.1", web.json_response(STATUS), asked):
        said = await client.status(pod("127.7.0.1"), "secret")
    assert asked == ["GET /v1/status Bearer secret"]
    assert (said.phase, said.plan_generation, said.pod_uid) == ("Running", 3, "u1")
    assert said.rows["accepted"] == 10
    (instance,) = said.pools["drafter"]
    assert (instance.state, instance.inbox, instance.in_flight) == ("serving", 3, 4)


async def test_a_plan_is_handed_over_and_a_refusal_is_told_in_the_heads_words(
    client: HeadClient,
) -> None:
    asked: list[str] = []
    async with head("127.7.0.2", web.json_response({}), asked):
        await client.put_plan(pod("127.7.0.2"), "secret", '{"generation":4}')
    assert asked == ['PUT /v1/plan Bearer secret {"generation":4}']
    refusal = web.json_response({"error": "step x has no pool"}, status=422)
    async with head("127.7.0.2", refusal, asked):
        with pytest.raises(HeadError, match="step x has no pool") as caught:
            await client.put_plan(pod("127.7.0.2"), "secret", "{}")
    assert caught.value.status == 422


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="<html>"),
        web.Response(text="null"),
        web.Response(text=json.dumps({**STATUS, "rows": 7})),
        web.Response(body=b" " * (5 << 20)),
        web.Response(status=503, text="the head is starting"),
    ],
    ids=["html", "null", "wrong type", "too large", "starting"],
)
async def test_a_bad_answer_is_one_line(client: HeadClient, answer: web.Response) -> None:
    async with head("127.7.0.3", answer, []):
        with pytest.raises(HeadError) as caught:
            await client.status(pod("127.7.0.3"), "secret")
    assert "\n" not in str(caught.value)


async def test_nobody_there_is_an_error_at_once(client: HeadClient) -> None:
    with pytest.raises(HeadError) as caught:
        await client.status(pod("127.7.0.4"), "secret")
    assert caught.value.status == 0
