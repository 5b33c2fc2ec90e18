"""The head's control API: its status, a new Plan for it, the word to drain."""

from __future__ import annotations

import json
import time
from typing import Final

import aiohttp

from weft_operator.facts import HeadStatus, Pod
from weft_operator.metrics import HEAD_REQUESTS
from weft_operator.names import HEAD_PORT

TIMEOUT: Final = aiohttp.ClientTimeout(total=5.0, connect=2.0)
PLAN_TIMEOUT: Final = aiohttp.ClientTimeout(total=15.0, connect=2.0)
"""The head asks its agents before it takes a Plan, and waits for those that are busy."""
LARGEST: Final = 4 * 1024 * 1024
"""Bytes of an answer; a head that says more is not believed."""


class HeadError(Exception):
    """The head did not answer, or said no. `str()` is one line."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class HeadClient:
    """Asked by the pod's address: it works without the cluster's DNS, and one knows who answers."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def status(self, pod: Pod, token: str) -> HeadStatus:
        answer = await self._ask("GET", pod, "/v1/status", token)
        try:
            return HeadStatus.from_object(answer, at=time.time(), pod_uid=pod.uid)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HeadError(200, f"the head's status is not as agreed: {error!r}") from None

    async def put_plan(self, pod: Pod, token: str, plan: str) -> None:
        await self._ask("PUT", pod, "/v1/plan", token, plan, PLAN_TIMEOUT)

    async def drain(self, pod: Pod, token: str) -> None:
        await self._ask("POST", pod, "/v1/drain", token)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self,
        method: str,
        pod: Pod,
        path: str,
        token: str,
        body: str | None = None,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> dict[str, object]:
        if self._session is None:
            # Heads are many and asked seldom: idle connections would only pile up.
            connector = aiohttp.TCPConnector(limit=64, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector)
        host = f"[{pod.address}]" if ":" in pod.address else pod.address
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        call = f"{method} {path}"
        try:
            async with self._session.request(
                method,
                f"http://{host}:{HEAD_PORT}{path}",
                data=body,
                headers=headers,
                timeout=timeout,
            ) as answer:
                text = await _bounded(answer)
                if answer.status >= 300:
                    HEAD_REQUESTS.labels(call, str(answer.status)).inc()
                    said = " ".join(text.decode(errors="replace").split())[:300]
                    raise HeadError(answer.status, f"{call} on {pod.name}: {answer.status}: {said}")
                found: dict[str, object] = json.loads(text) if method == "GET" else {}
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            HEAD_REQUESTS.labels(call, "none").inc()
            text_ = str(error) or type(error).__name__
            raise HeadError(0, f"{call} on {pod.name}: {text_}") from None
        HEAD_REQUESTS.labels(call, "ok").inc()
        return found


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises ValueError for one that is too large."""
    text = bytearray()
    async for chunk in answer.content.iter_any():
        text += chunk
        if len(text) > LARGEST:
            raise ValueError(f"the answer is larger than {LARGEST >> 20} MiB")
    return bytes(text)
