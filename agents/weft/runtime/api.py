"""The control API of a run, and its metrics. It asks the head's actor and holds nothing itself."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from weft.runtime.metrics import exposition
from weft.runtime.status import Status
from weft_api.scalars import Span

MAX_BODY = 4 << 20
"""Bytes of a plan, or of rows handed in at once, at the most."""
_WHOLE = re.compile(r"-?[0-9]{1,9}")
_span = TypeAdapter(Span)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Head(Protocol):
    """What the API asks."""

    @property
    def up(self) -> bool:
        """Whether this head's Ray can be joined."""

    async def status(self) -> Status | None:
        """None while the head is not up. Raises `ConnectionError` when it does not answer."""

    async def plan(self) -> str: ...

    async def update(self, plan_json: str) -> str:
        """ "" or the line that says why the plan is refused."""

    async def drain(self) -> None: ...

    async def inject(self, rows: bytes, priority: int | None, within: float | None) -> bytes | str:
        """Take rows (JSON Lines), to be made within so many seconds: the answer as JSON, or the
        lines that say why not."""


def make_app(head: Head, token: str) -> web.Application:
    """Everything under `/v1` needs the token as bearer; `/healthz` and `/metrics` do not."""
    boot = secrets.token_hex(8)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v1/") and not _authorized(request, token):
            return _problem(401, "the control API needs `Authorization: Bearer <token>`")
        try:
            return await handler(request)
        except ConnectionError as error:
            return _problem(503, f"the head does not answer: {error}")

    async def healthz(request: web.Request) -> web.Response:
        # The boot id tells agents that this is another Ray cluster than the one they joined.
        return web.json_response({"boot": boot}, status=200 if head.up else 503)

    async def status(request: web.Request) -> web.Response:
        found = await head.status()
        if found is None:
            return _problem(503, "the head is starting")
        return web.Response(body=msgspec.json.encode(found), content_type="application/json")

    async def get_plan(request: web.Request) -> web.Response:
        return web.Response(text=await head.plan(), content_type="application/json")

    async def put_plan(request: web.Request) -> web.Response:
        refused = await head.update(await request.text())
        return _problem(422, refused) if refused else web.json_response({})

    async def drain(request: web.Request) -> web.Response:
        await head.drain()
        return web.json_response({})

    async def inject(request: web.Request) -> web.Response:
        wanted = request.query.get("priority")
        if wanted is not None and not _WHOLE.fullmatch(wanted):
            return _problem(422, f"priority: {wanted!r:.40} is no whole number")
        priority = None if wanted is None else int(wanted)
        within = None
        if (span := request.query.get("deadline")) is not None:
            try:
                within = _span.validate_python(span).seconds
            except ValidationError as error:
                return _problem(422, f"deadline: {span!r:.40} {error.errors()[0]['msg']}")
        answer = await head.inject(await request.read(), priority, within)
        if isinstance(answer, str):
            return _problem(422, answer)
        return web.Response(body=answer, content_type="application/json")

    async def metrics(request: web.Request) -> web.Response:
        found = await head.status()
        text = exposition(found) if found else b""
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application(middlewares=[guard], client_max_size=MAX_BODY)
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/metrics", metrics),
            web.get("/v1/status", status),
            web.get("/v1/plan", get_plan),
            web.put("/v1/plan", put_plan),
            web.post("/v1/drain", drain),
            web.post("/v1/rows", inject),
        ]
    )
    return app


def _authorized(request: web.Request, token: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return scheme == "Bearer" and hmac.compare_digest(given.encode(), token.encode())


def _problem(status: int, line: str) -> web.Response:
    return web.json_response({"error": line}, status=status)
