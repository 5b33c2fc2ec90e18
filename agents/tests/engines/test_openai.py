"""The OpenAI-compatible engine against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import jsonschema
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from weft.engines.base import ChatRequest, EngineError
from weft.engines.fake_endpoint import Options, make_app
from weft.engines.openai import OpenAI
from weft.row import ChatMessage, ToolCall
from weft_api.engine import OpenAIEngine
from weft_api.scalars import Duration

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOL = {
    "type": "function",
    "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}},
}
COMPLETION: dict[str, Any] = {
    "model": "served-2026",
    "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fast(Random):
    """Draws no jitter, and so no wait."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


def ask(text: str = "Hi", **more: Any) -> ChatRequest:
    return ChatRequest(messages=[ChatMessage("user", text)], **more)


@contextlib.asynccontextmanager
async def engine_at(
    url: str,
    *,
    key: str | None = None,
    model: str = "fake",
    chance: Random | None = None,
    **more: Any,
) -> AsyncIterator[OpenAI]:
    engine = OpenAI(
        OpenAIEngine(base_url=url, model=model, **more),
        api_key=key,
        start_patience=0.2,
        chance=chance or Random(1),
    )
    try:
        yield engine
    finally:
        await engine.close()


@contextlib.asynccontextmanager
async def fake(**options: Any) -> AsyncIterator[tuple[str, TestServer]]:
    app = make_app(Options(**{"mean": 0.0, **options}))
    async with TestServer(app) as server:
        yield str(server.make_url("/v1")), server


@contextlib.asynccontextmanager
async def answering(*answers: Handler | tuple[int, Any, dict[str, str]]) -> AsyncIterator[Any]:
    """A server that gives these answers to chats in turn (the last for ever); keeps the bodies."""
    bodies: list[dict[str, Any]] = []

    async def chat(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        answer = answers[min(len(bodies), len(answers)) - 1]
        if callable(answer):
            return await answer(request)
        status, body, headers = answer
        if isinstance(body, str):
            return web.Response(text=body, status=status, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    async with TestServer(app) as server:
        yield str(server.make_url("/v1")), bodies


OK = (200, COMPLETION, {})


def refusal(status: int, message: str, code: str = "", **headers: str) -> tuple[int, Any, Any]:
    return status, {"error": {"message": message, "code": code}}, headers


async def test_a_chat_comes_back_with_the_servers_model_and_token_counts() -> None:
    async with answering(OK) as (url, bodies), engine_at(url) as engine:
        result = await engine.chat(
            ask(temperature=0.5, top_p=0.9, max_tokens=5, stop=["x"], seed=4, tools=[TOOL])
        )
    assert result.message == ChatMessage("assistant", "Hello")
    assert (result.model, result.prompt_tokens, result.completion_tokens) == ("served-2026", 3, 1)
    assert bodies == [
        {
            "model": "fake",
            "messages": [{"role": "user", "content": "Hi"}],
            "temperature": 0.5,
            "top_p": 0.9,
            "max_tokens": 5,
            "stop": ["x"],
            "seed": 4,
            "tools": [TOOL],
        }
    ]


async def test_what_nobody_set_is_not_sent() -> None:
    async with answering(OK) as (url, bodies), engine_at(url) as engine:
        await engine.chat(ask())
    assert set(bodies[0]) == {"model", "messages"}


async def test_tool_calls_go_both_ways() -> None:
    message = {
        "content": None,
        "tool_calls": [
            {"id": "c2", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
            {"function": {"name": "g", "arguments": {"b": 2}}},
            {"id": "c4", "function": {"name": "h"}},
        ],
    }
    completion = {"choices": [{"message": message, "finish_reason": "tool_calls"}]}
    history = [
        ChatMessage("assistant", tool_calls=[ToolCall("c1", "f", "{}")]),
        ChatMessage("tool", "done", tool_call_id="c1"),
    ]
    async with answering((200, completion, {})) as (url, bodies), engine_at(url) as engine:
        result = await engine.chat(ChatRequest(messages=history))
    assert result.message.tool_calls == [
        ToolCall("c2", "f", '{"a":1}'),
        ToolCall("call_1", "g", '{"b":2}'),
        ToolCall("c4", "h", "{}"),
    ]
    assert result.model == "fake"
    assert bodies[0]["messages"] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "done", "tool_call_id": "c1"},
    ]


async def test_a_schema_is_asked_for_by_response_format() -> None:
    async with fake() as (url, _), engine_at(url) as engine:
        result = await engine.chat(ask(schema=SCHEMA))
    jsonschema.validate(json.loads(result.message.content), SCHEMA)


async def test_where_schemas_are_refused_weaker_forms_are_tried_and_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = refusal(400, "response_format is not supported")
    async with answering(refused, refused, OK) as (url, bodies), engine_at(url) as engine:
        with caplog.at_level(logging.WARNING):
            await engine.chat(ask(schema=SCHEMA))
            await engine.chat(ask(schema=SCHEMA))
    forms = [body.get("response_format", {}).get("type") for body in bodies]
    assert forms == ["json_schema", "json_object", None, None]
    assert "matches this JSON schema" in bodies[-1]["messages"][0]["content"]
    assert len(caplog.records) == 2


async def test_the_fake_endpoint_without_schemas_still_gets_the_schema_in_words() -> None:
    async with fake(schemas=False) as (url, _), engine_at(url) as engine:
        assert (await engine.chat(ask(schema=SCHEMA))).message.content


async def test_the_newer_name_of_max_tokens_is_learned_once() -> None:
    refused = refusal(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.")
    async with answering(refused, OK) as (url, bodies), engine_at(url) as engine:
        await engine.chat(ask(max_tokens=5))
        await engine.chat(ask(max_tokens=5))
    assert [("max_tokens" in body, body.get("max_completion_tokens")) for body in bodies] == [
        (True, None),
        (False, 5),
        (False, 5),
    ]


async def test_429_with_retry_after_is_waited_out() -> None:
    full = refusal(429, "slow down", **{"Retry-After": "0.2"})
    loop = asyncio.get_running_loop()
    async with answering(full, full, OK) as (url, bodies), engine_at(url) as engine:
        began = loop.time()
        await engine.chat(ask())
        assert 0.4 <= loop.time() - began < 1.5
    assert len(bodies) == 3
    assert engine.adaptive.limit < 64


async def test_an_exhausted_allowance_holds_the_next_call_back() -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "300ms"}
    loop = asyncio.get_running_loop()
    async with answering((200, COMPLETION, headers), OK) as (url, _), engine_at(url) as engine:
        await engine.chat(ask())
        began = loop.time()
        await engine.chat(ask())
        assert loop.time() - began >= 0.28


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_server_that_fails_once_is_asked_again(status: int) -> None:
    async with answering(refusal(status, "oops"), OK) as (url, bodies), engine_at(url) as engine:
        assert (await engine.chat(ask())).message.content == "Hello"
    assert len(bodies) == 2


async def test_a_dropped_connection_is_asked_again() -> None:
    async with fake(drop_first=2) as (url, _), engine_at(url) as engine:
        assert (await engine.chat(ask())).message.content


async def test_no_answer_in_time_is_told_with_what_to_do() -> None:
    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1)
        return web.json_response(COMPLETION)

    async with (
        answering(slow) as (url, bodies),
        engine_at(url, timeout=Duration("20ms"), chance=Fast(1)) as engine,
    ):
        with pytest.raises(EngineError, match=r"raise engine\.openai\.timeout") as failed:
            await engine.chat(ask())
    assert failed.value.transient
    assert len(bodies) == 4


async def test_a_refused_request_is_not_tried_again_and_told_in_one_line() -> None:
    refused = refusal(400, "context length\nexceeded: 9000 > 4096")
    async with answering(refused) as (url, bodies), engine_at(url) as engine:
        with pytest.raises(EngineError) as failed:
            await engine.chat(ask())
    assert len(bodies) == 1
    assert "context length exceeded: 9000 > 4096" in str(failed.value)
    assert "\n" not in str(failed.value)
    assert not failed.value.transient


@pytest.mark.parametrize(
    "body", ["not json", '{"choices": []}', '{"choices": [{"message": 5}]}', "[]", ""]
)
async def test_an_answer_that_is_no_completion_is_told(body: str) -> None:
    async with answering((200, body, {})) as (url, _), engine_at(url, chance=Fast(1)) as engine:
        with pytest.raises(EngineError, match="is an OpenAI-compatible endpoint"):
            await engine.chat(ask())


async def test_a_refusal_by_the_model_is_its_text_with_a_reason() -> None:
    completion = {"choices": [{"message": {"refusal": "I cannot."}, "finish_reason": "stop"}]}
    async with answering((200, completion, {})) as (url, _), engine_at(url) as engine:
        result = await engine.chat(ask())
    assert (result.message.content, result.finish_reason) == ("I cannot.", "refusal")


async def test_start_passes_where_all_is_well() -> None:
    async with fake(api_key="sesame") as (url, _), engine_at(url, key="sesame") as engine:
        await engine.start()
        assert (await engine.chat(ask())).model == "fake"


async def test_start_says_that_nothing_answers() -> None:
    async with engine_at("http://127.0.0.1:9/v1") as engine:
        with pytest.raises(
            EngineError, match=r"nothing answers at http://127\.0\.0\.1:9/v1"
        ) as told:
            await engine.start()
    assert told.value.transient


async def test_start_waits_a_little_for_an_endpoint_that_comes_up() -> None:
    async with fake() as (url, server):
        port = server.port
    async with engine_at(url) as engine:
        engine._start_patience = 5.0
        starting = asyncio.create_task(engine.start())
        await asyncio.sleep(0.1)
        async with TestServer(make_app(Options(mean=0.0)), port=port):
            await starting


async def test_start_says_that_a_key_is_missing_or_wrong_and_never_shows_it() -> None:
    async with fake(api_key="sesame") as (url, _):
        async with engine_at(url) as engine:
            with pytest.raises(EngineError, match="asks for an API key"):
                await engine.start()
        async with engine_at(url, key="wrong-key") as engine:
            with pytest.raises(EngineError, match="refused the API key") as told:
                await engine.start()
    assert "wrong-key" not in str(told.value)


async def test_a_key_that_the_server_echoes_is_blotted_out() -> None:
    echo = refusal(401, "Incorrect API key provided: sk-12345")
    async with answering(echo) as (url, _), engine_at(url, key="sk-12345") as engine:
        with pytest.raises(EngineError) as told:
            await engine.chat(ask())
    assert "sk-12345" not in str(told.value)
    assert "***" in str(told.value)


async def test_start_lists_the_models_that_exist() -> None:
    async with fake(model="llama-3") as (url, _), engine_at(url, model="lama") as engine:
        with pytest.raises(EngineError, match=r"no model 'lama'; it has llama-3"):
            await engine.start()


async def test_start_says_that_the_version_part_is_missing() -> None:
    async with fake() as (url, _), engine_at(url.removesuffix("/v1")) as engine:
        with pytest.raises(EngineError, match="such as /v1 missing"):
            await engine.start()


async def test_an_endpoint_that_lists_no_models_is_asked_for_a_token() -> None:
    async with answering(OK) as (url, bodies), engine_at(url) as engine:
        await engine.start()
    assert bodies[0]["max_tokens"] == 1


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    seen: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.Response(status=307, headers={"Location": "/v1/other"})

    async with answering(elsewhere) as (url, _), engine_at(url, key="k") as engine:
        with pytest.raises(EngineError, match="redirects elsewhere"):
            await engine.chat(ask())
    assert seen == ["Bearer k"]


async def test_the_users_limit_on_concurrency_holds() -> None:
    async with (
        fake(mean=0.02, sigma=0.0) as (url, server),
        engine_at(url, max_concurrency=3) as engine,
    ):
        await asyncio.gather(*(engine.chat(ask(seed=number)) for number in range(20)))
        stats = await stats_of(server)
    assert stats["mostUnderWay"] == 3
    assert stats["answered"] == 20


async def test_all_calls_get_through_an_endpoint_that_refuses_most() -> None:
    options = {"slots": 4, "most_queued": 0, "retry_after": 0.05, "mean": 0.01, "sigma": 0.0}
    async with fake(**options) as (url, server), engine_at(url) as engine:
        results = await asyncio.gather(*(engine.chat(ask(seed=number)) for number in range(100)))
        stats = await stats_of(server)
    assert len(results) == 100
    assert stats["answered"] == 100
    assert stats["rejected"] > 0
    assert engine.adaptive.limit < 32


async def test_calls_that_are_cancelled_give_their_place_back() -> None:
    async with (
        fake(mean=5.0, sigma=0.0) as (url, _),
        engine_at(url, max_concurrency=2) as engine,
    ):
        calls = [asyncio.create_task(engine.chat(ask(seed=number))) for number in range(6)]
        await asyncio.sleep(0.1)
        assert engine.adaptive.under_way == 2
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert engine.adaptive.under_way == 0


async def test_the_fake_endpoint_counts_how_busy_its_slots_were() -> None:
    async with fake(slots=4, mean=0.1, sigma=0.0) as (url, server), engine_at(url) as engine:
        await asyncio.gather(*(engine.chat(ask(seed=number)) for number in range(2)))
        await asyncio.sleep(0.06)
        half = await stats_of(server)
        assert half["busySlotSeconds"] <= 0.01, "until the last arrival nothing was done"
        whole = await stats_of(server, until=half["first"] + 0.1)
    assert 0.35 < whole["busyShare"] < 0.55


@pytest.mark.parametrize("by_turn", [True, False])
async def test_the_fake_endpoint_by_turn_deals_the_same_to_whoever_asks(by_turn: bool) -> None:
    async def lengths(first_seed: int) -> list[int]:
        async with fake(by_turn=by_turn) as (url, _), engine_at(url) as engine:
            replies = [await engine.chat(ask(seed=first_seed + number)) for number in range(8)]
            return [reply.completion_tokens for reply in replies]

    pairs = zip(await lengths(0), await lengths(100), strict=True)
    alike = all(abs(one - other) < 0.25 * other for one, other in pairs)  # Up to whole sentences.
    assert alike == by_turn


async def stats_of(server: TestServer, **query: float) -> dict[str, Any]:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        url = server.make_url("/stats").with_query({k: str(v) for k, v in query.items()})
        async with session.get(url) as response:
            value: dict[str, Any] = await response.json()
            return value
