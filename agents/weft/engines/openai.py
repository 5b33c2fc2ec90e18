"""Any endpoint that speaks OpenAI's chat completions.

The client is aiohttp and not the `openai` package: against a fake endpoint on loopback, 64 calls
under way, one call costs 0.23 ms of CPU with aiohttp and msgspec, 1.2 ms with `openai` over its
aiohttp transport, and 2.1 ms with `openai` as it comes. Retries (`retry`), limits (`adaptive`) and
the format (`chat_format`) are pure and lie beside; this file does the I/O.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import urllib.request
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from weft.engines.adaptive import Adaptive, Outcome
from weft.engines.base import ChatRequest, ChatResult, Engine, EngineError, Urgency
from weft.engines.chat_format import NotACompletion, SchemaMode, body_of, result_of
from weft.engines.gate import Gate
from weft.engines.retry import Failure, exhausted_for, retry_after, wait_before_retry
from weft.engines.schema_modes import SchemaModes
from weft.row import ChatMessage
from weft_api.engine import OpenAIEngine

log = logging.getLogger(__name__)

KEEP_ALIVE = 4.0
"""Seconds for which an idle connection is kept: below the 5 s of uvicorn, which many servers are
built on, so that the server does not close a connection just as it is used again."""

CONNECT_SECONDS = 10.0

START_PATIENCE = 5.0
"""Seconds for which `start` waits for an endpoint that does not answer at all."""

MOST_TEXT = 300
"""Characters of an endpoint's error that are told."""


class OpenAI(Engine):
    """One endpoint and one model of it, shared by all calls of this process."""

    def __init__(
        self,
        settings: OpenAIEngine,
        *,
        api_key: str | None = None,
        start_patience: float = START_PATIENCE,
        chance: Random | None = None,
    ) -> None:
        self.model = settings.model
        self.adaptive = Adaptive(
            most=settings.max_concurrency, requests_per_minute=settings.requests_per_minute
        )
        self._base = settings.base_url.rstrip("/")
        self._url = f"{self._base}/chat/completions"
        self._key = api_key
        self._timeout = settings.timeout.seconds
        self._start_patience = start_patience
        self._chance = chance or Random()
        self._gate = Gate(self.adaptive)
        self._session: aiohttp.ClientSession | None = None
        self._proxy = _proxy_for(self._base)
        self._schema_modes = SchemaModes(self._base)
        self._max_tokens_field = "max_tokens"

    async def start(self) -> None:
        """Check that the endpoint answers, takes the key and has the model."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._start_patience
        while True:
            answer = await self._send("GET", f"{self._base}/models", None)
            away = isinstance(answer, Failure) and answer.status in (0, 502, 503, 504)
            if not away or loop.time() >= give_up:
                break
            await asyncio.sleep(min(0.5, max(0.0, give_up - loop.time())))
        if isinstance(answer, Failure):
            if answer.status not in (404, 405):
                raise self._error(answer)
            await self._check_without_list()
        else:
            self._check_listed(answer)

    async def chat(self, request: ChatRequest) -> ChatResult:
        loop = asyncio.get_running_loop()
        began = loop.time()
        tries = 0
        while True:
            mode = self._schema_modes.of(request.schema)
            body = body_of(
                request,
                self.model,
                schema_mode=mode,
                max_tokens_field=self._max_tokens_field,
            )
            answer = await self._through_gate(body, request.urgency, again=tries > 0)
            tries += 1
            if isinstance(answer, ChatResult):
                self.trouble = ""
                if request.schema is not None:
                    self._schema_modes.took(mode)
                return answer
            if self._adapted_to(answer, request, mode):
                continue
            wait = wait_before_retry(
                answer, tries=tries, elapsed=loop.time() - began, chance=self._chance
            )
            if wait is None:
                raise self._error(answer, tries=tries)
            if answer.outcome is not Outcome.REFUSED:
                self.trouble = str(self._error(answer, tries=tries))
            log.debug("%s: %s; again in %.1f s", self._base, answer.status or answer.text, wait)
            await asyncio.sleep(wait)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _through_gate(
        self, body: bytes, urgency: Urgency, *, again: bool
    ) -> ChatResult | Failure:
        ticket = await self._gate.enter(urgency, again=again)
        outcome, asked_to_wait = Outcome.OTHER, 0.0
        try:
            answer = await self._send("POST", self._url, body)
            if isinstance(answer, Failure):
                outcome, asked_to_wait = answer.outcome, answer.retry_after
                return answer
            try:
                result = result_of(answer, self.model)
            except NotACompletion as fault:
                return Failure(200, str(fault))
            outcome = Outcome.ANSWERED
            return result
        finally:
            self._gate.leave(ticket, outcome, retry_after=asked_to_wait)

    async def _send(self, method: str, url: str, body: bytes | None) -> bytes | Failure:
        """One HTTP request: the body of a 200, or what went wrong. Never raises for the network."""
        session = self._session or self._open()
        try:
            # A redirect is not followed: the key must go nowhere but where the manifest says.
            async with session.request(
                method, url, data=body, allow_redirects=False, proxy=self._proxy
            ) as response:
                answer = await response.read()
                if pause := exhausted_for(response.headers):
                    self._gate.pause(pause)
                if response.status == 200:
                    return answer
                return Failure(
                    response.status,
                    self._told(answer),
                    retry_after=retry_after(response.headers, datetime.now(UTC)),
                )
        except TimeoutError:
            return Failure(0, f"no answer in {self._timeout:g} s", timed_out=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Failure(0, str(error) or type(error).__name__)

    def _open(self) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json", "User-Agent": "weft"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._session = aiohttp.ClientSession(
            # The gate bounds the connections; a second bound here could only be wrong.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT_SECONDS),
            headers=headers,
        )
        return self._session

    def _adapted_to(self, failure: Failure, request: ChatRequest, mode: SchemaMode) -> bool:
        """Whether the endpoint refused a form of asking for which there is another one."""
        if failure.status not in (400, 404, 422, 501):
            return False
        text = failure.text.lower()
        if (
            request.max_tokens is not None
            and "max_completion_tokens" in text
            and self._max_tokens_field == "max_tokens"
        ):
            self._max_tokens_field = "max_completion_tokens"
            return True
        return request.schema is not None and self._schema_modes.refused(
            request.schema, mode, failure.text
        )

    def _check_listed(self, answer: bytes) -> None:
        try:
            names = [str(model["id"]) for model in msgspec.json.decode(answer)["data"]]
        except (msgspec.DecodeError, KeyError, TypeError):
            raise EngineError(
                f"engine.openai.baseURL: {self._base}/models does not answer as OpenAI's does; "
                "give the address up to and with its version part, such as http://host:8000/v1"
            ) from None
        if self.model not in names:
            raise EngineError(
                f"engine.openai.model: {self._base} has no model {self.model!r}; "
                f"it has {_listed(names, self.model)}"
            )

    async def _check_without_list(self) -> None:
        """For endpoints that do not list their models: ask for a token."""
        ask = ChatRequest(messages=[ChatMessage("user", "Hi")], max_tokens=1)
        answer = await self._send("POST", self._url, body_of(ask, self.model))
        if isinstance(answer, Failure) and answer.status != 400:
            raise self._error(answer)

    def _error(self, failure: Failure, *, tries: int = 1) -> EngineError:
        """The line for the person who reads it: what was asked of whom, what came, what to do."""
        after = f" after {tries} tries" if tries > 1 else ""
        said = f": {failure.text}" if failure.text else ""
        match failure.status:
            case 0 if failure.timed_out:
                line = (
                    f"{self._base} gave no answer in {self._timeout:g} s{after}; raise "
                    "engine.openai.timeout or lower max_tokens"
                )
            case 0:
                line = (
                    f"engine.openai.baseURL: nothing answers at {self._base}{after}{said}; start "
                    "the endpoint or correct the address"
                )
            case 200:
                line = (
                    f"{self._base} answered{after}, but {failure.text}; check that "
                    "engine.openai.baseURL is an OpenAI-compatible endpoint"
                )
            case 401 | 403 if not self._key:
                line = (
                    f"{self._base} asks for an API key (HTTP {failure.status}{said}); name a "
                    "Secret in engine.openai.apiKeySecretRef, or set WEFT_ENGINE_API_KEY"
                )
            case 401 | 403:
                line = (
                    f"{self._base} refused the API key (HTTP {failure.status}{said}); check the "
                    "key that engine.openai.apiKeySecretRef or WEFT_ENGINE_API_KEY gives"
                )
            case 404:
                line = (
                    f"{self._base} knows no such address or model (HTTP 404{said}); check "
                    f"engine.openai.baseURL (is a version part such as /v1 missing?) and model "
                    f"({self.model!r})"
                )
            case 429 if failure.is_out_of_quota:
                line = (
                    f"{self._base}: the account's quota is used up (HTTP 429{said}); add credit, "
                    "or use another key"
                )
            case status if 300 <= status < 400:
                line = (
                    f"engine.openai.baseURL: {self._base} redirects elsewhere (HTTP {status}); "
                    "give the address that it redirects to"
                )
            case status if failure.is_transient:
                line = f"{self._base} failed{after} (HTTP {status}{said}); look at its own log"
            case status:
                line = f"{self._base} refused the request (HTTP {status}{said}); correct it"
        return EngineError(line, transient=failure.is_transient)

    def _told(self, answer: bytes) -> str:
        """What an error answer says, in one line, without the key."""
        text = answer[:4096].decode("utf-8", "replace")
        try:
            value: Any = msgspec.json.decode(answer)
            error = value.get("error", value)
            if isinstance(error, dict):
                code = error.get("code")
                said = str(error.get("message") or error.get("detail") or text)
                text = f"{said} ({code})" if isinstance(code, str) else said
            else:
                text = str(error)
        except (msgspec.DecodeError, AttributeError):
            pass
        if self._key:
            text = text.replace(self._key, "***")
        text = " ".join(text.split())
        return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"


def _listed(names: list[str], wanted: str) -> str:
    if not names:
        return "none"
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.4)
    shown = [*near, *(name for name in sorted(names) if name not in near)][:10]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _proxy_for(url: str) -> str | None:
    """The proxy of the environment for this address, found once and not at each call."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    # A proxy cannot reach this machine's own loopback, whatever NO_PROXY says.
    if host in ("localhost", "127.0.0.1", "::1") or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)
