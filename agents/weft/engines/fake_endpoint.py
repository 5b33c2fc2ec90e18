"""An OpenAI-compatible endpoint without a model, for tests, benchmarks and sizing.

    python -m weft.engines.fake_endpoint --slots 64 --mean 0.5 --sigma 0.8

It is the simulator behind HTTP, in a process of its own: S slots with a first-come queue,
log-normal times, rate limits (429 with Retry-After), faults on demand. The first line it prints is
its base URL; it serves until it gets SIGTERM or SIGINT. `GET /stats` counts, and says how busy the
slots were from the first request until a moment (`?until=`, Unix seconds; else the last arrival).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

import uvloop
from aiohttp import web

from weft.engines.base import ChatRequest, EngineError
from weft.engines.simulator import Simulator
from weft.row import ChatMessage, ToolCall
from weft_api.engine import Faults, Latency, SimulatorEngine, Tokens
from weft_api.scalars import Duration

SAMPLE_SECONDS = 0.05
MOST_SAMPLES = 72_000
"""An hour of samples of the busy integral; then the oldest go."""


@dataclass(frozen=True)
class Options:
    """What the endpoint does. Times in seconds; `mean` and `sigma` are of a log-normal time, whose
    median is mean * exp(-sigma^2 / 2)."""

    slots: int = 64
    mean: float = 0.5
    sigma: float = 0.8
    tokens: int = 60
    seed: int = 0
    model: str = "fake"
    api_key: str = ""
    """Asked for as a bearer token where it is set."""
    most_queued: int | None = None
    """Requests over slots + this many are turned away with 429."""
    retry_after: float = 1.0
    requests_per_minute: int | None = None
    error_rate: float = 0.0
    """Chance of a 500."""
    hang_rate: float = 0.0
    schemas: bool = True
    """Without it `response_format: json_schema` is refused with 400, as older servers do."""
    by_turn: bool = False
    """Times by the calls' turn, and not by what they ask: the same for systems that ask
    differently."""
    drop_first: int = 0
    """Close the connection on this many first requests without an answer."""


@dataclass
class _State:
    options: Options
    simulator: Simulator
    first: float = 0.0
    last: float = 0.0
    calls: int = 0
    answered: int = 0
    rejected: int = 0
    failed: int = 0
    under_way: int = 0
    most_under_way: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    starts: deque[float] = field(default_factory=deque)
    samples: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MOST_SAMPLES))


_STATE = web.AppKey("state", _State)


def make_app(options: Options) -> web.Application:
    """The endpoint as an aiohttp application."""
    simulator = Simulator(
        SimulatorEngine(
            slots=options.slots,
            latency=Latency(
                median=Duration(f"{1000 * options.mean * math.exp(-(options.sigma**2) / 2):.3f}ms"),
                sigma=options.sigma,
            ),
            tokens=Tokens(median=options.tokens, sigma=min(options.sigma, 0.5)),
            faults=Faults(error_rate=options.error_rate, hang_rate=options.hang_rate),
        ),
        seed=options.seed,
    )
    app = web.Application(client_max_size=64 * 2**20)
    app[_STATE] = _State(options, simulator)
    app.router.add_post("/v1/chat/completions", _chat)
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/stats", _stats)
    app.cleanup_ctx.append(_sampling)
    return app


async def _chat(request: web.Request) -> web.StreamResponse:
    state = request.app[_STATE]
    options = state.options
    now = time.time()
    state.first = state.first or now
    state.last = now
    state.calls += 1
    turn = state.calls
    if state.calls <= options.drop_first and request.transport is not None:
        request.transport.abort()
        return web.Response()
    if refusal := _key_refused(request):
        return refusal
    if wait := _full(state, now):
        state.rejected += 1
        return _error(
            429, "rate_limit_exceeded", "too many requests", {"Retry-After": f"{wait:.3f}"}
        )
    body = await request.json()
    if body.get("model") != options.model:
        return _error(404, "model_not_found", f"The model `{body.get('model')}` does not exist.")
    shape = body.get("response_format") or {}
    if shape.get("type") == "json_schema" and not options.schemas:
        return _error(400, "invalid_request", "response_format json_schema is not supported")
    asked = ChatRequest(
        messages=[_message(one) for one in body["messages"]],
        tools=body.get("tools") or [],
        schema=(shape.get("json_schema") or {}).get("schema"),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop=body.get("stop") or [],
        seed=body.get("seed"),
    )
    state.under_way += 1
    state.most_under_way = max(state.most_under_way, state.under_way)
    try:
        result = await state.simulator.chat(asked, deviate=_deviate(options, turn))
    except EngineError as error:
        state.failed += 1
        return _error(500, "server_error", str(error))
    finally:
        state.under_way -= 1
    state.answered += 1
    state.prompt_tokens += result.prompt_tokens
    state.completion_tokens += result.completion_tokens
    message: dict[str, Any] = {"role": "assistant", "content": result.message.content or None}
    if result.message.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in result.message.tool_calls
        ]
    return web.json_response(
        {
            "id": f"chatcmpl-{state.calls}",
            "object": "chat.completion",
            "created": int(now),
            "model": options.model,
            "choices": [{"index": 0, "message": message, "finish_reason": result.finish_reason}],
            "usage": {
                "prompt_tokens": result.prompt_tokens,
                "completion_tokens": result.completion_tokens,
                "total_tokens": result.prompt_tokens + result.completion_tokens,
            },
        }
    )


def _deviate(options: Options, turn: int) -> float | None:
    """Of the call that came as number `turn`; None where it follows from what is asked."""
    return Random(f"{options.seed} {turn}").gauss(0.0, 1.0) if options.by_turn else None


def _full(state: _State, now: float) -> float:
    """Seconds after which to come again; 0 when there is room."""
    options = state.options
    if options.most_queued is not None and state.under_way >= options.slots + options.most_queued:
        return options.retry_after
    if options.requests_per_minute is not None:
        starts = state.starts
        while starts and starts[0] <= now - 60:
            starts.popleft()
        if len(starts) >= options.requests_per_minute:
            return max(0.001, starts[0] + 60 - now)
        starts.append(now)
    return 0.0


async def _models(request: web.Request) -> web.StreamResponse:
    if refusal := _key_refused(request):
        return refusal
    model = {"id": request.app[_STATE].options.model, "object": "model", "owned_by": "weft"}
    return web.json_response({"object": "list", "data": [model]})


async def _stats(request: web.Request) -> web.Response:
    state = request.app[_STATE]
    until = float(request.query.get("until", state.last or time.time()))
    since = float(request.query.get("since", state.first))
    busy = _integral(state, until) - _integral(state, since)
    window = max(until - since, 1e-9)
    return web.json_response(
        {
            "slots": state.options.slots,
            "first": state.first,
            "last": state.last,
            "since": since,
            "until": until,
            "busySlotSeconds": busy,
            "busyShare": busy / (window * state.options.slots),
            "calls": state.calls,
            "answered": state.answered,
            "rejected": state.rejected,
            "failed": state.failed,
            "underWay": state.under_way,
            "mostUnderWay": state.most_under_way,
            "promptTokens": state.prompt_tokens,
            "completionTokens": state.completion_tokens,
        }
    )


def _integral(state: _State, moment: float) -> float:
    """Busy slot-seconds up to a moment, interpolated between samples."""
    before = (state.first, 0.0)
    for sample in state.samples:
        if sample[0] >= moment:
            share = (moment - before[0]) / max(sample[0] - before[0], 1e-9)
            return before[1] + min(max(share, 0.0), 1.0) * (sample[1] - before[1])
        before = sample
    if moment <= before[0]:
        return before[1]
    return state.simulator.busy_seconds


async def _sampling(app: web.Application) -> Any:
    state = app[_STATE]

    async def sample() -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            if state.calls:
                state.samples.append((time.time(), state.simulator.busy_seconds))

    task = asyncio.create_task(sample())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _key_refused(request: web.Request) -> web.Response | None:
    key = request.app[_STATE].options.api_key
    if key and request.headers.get("Authorization") != f"Bearer {key}":
        return _error(401, "invalid_api_key", "Incorrect API key provided.")
    return None


def _error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    return web.json_response(
        {"error": {"message": message, "type": code, "code": code}}, status=status, headers=headers
    )


def _message(one: dict[str, Any]) -> ChatMessage:
    return ChatMessage(
        role=one["role"],
        content=one.get("content") or "",
        tool_calls=[
            ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in one.get("tool_calls") or []
        ],
        tool_call_id=one.get("tool_call_id"),
        name=one.get("name"),
    )


async def serve(options: Options, port: int = 0) -> None:
    """Serve on loopback until SIGTERM or SIGINT; prints the base URL first."""
    runner = web.AppRunner(make_app(options), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096)
    await site.start()
    bound = runner.addresses[0][1]
    print(f"http://127.0.0.1:{bound}/v1", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m weft.engines.fake_endpoint", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    for name, default in Options.__dataclass_fields__.items():
        value = default.default
        kind = int if "int" in str(default.type) else float if "float" in str(default.type) else str
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=value)
        else:
            parser.add_argument(flag, type=kind, default=value, help=f"default: {value}")
    given = vars(parser.parse_args(arguments))
    port = given.pop("port")
    uvloop.run(serve(Options(**given), port))


if __name__ == "__main__":
    main(sys.argv[1:])
