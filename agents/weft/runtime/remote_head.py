"""The head's actor, as the control API asks it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import ray

from weft.runtime.status import Status

ASK_TIMEOUT = 10.0
"""Seconds that the head has to answer; it may be starting again."""


class RemoteHead:
    """Every call raises `ConnectionError` where the head does not answer."""

    def __init__(self) -> None:
        self.actor: Any = None
        """None until Ray is up."""
        self.final: Status | None = None

    @property
    def up(self) -> bool:
        return self.actor is not None

    async def status(self) -> Status | None:
        if self.final is not None:
            return self.final
        answer = await self._ask("status") if self.up else b""
        return msgspec.json.decode(answer, type=Status) if answer else None

    async def plan(self) -> str:
        return str(await self._ask("plan"))

    async def update(self, plan_json: str) -> str:
        return str(await self._ask("update", plan_json))

    async def drain(self) -> None:
        await self._ask("drain")

    async def inject(self, rows: bytes, priority: int | None, within: float | None) -> bytes | str:
        answer: bytes | str = await self._ask("inject", rows, priority, within)
        return answer

    async def _ask(self, what: str, *words: Any) -> Any:
        if not self.up:
            raise ConnectionError("it is starting")
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                return await getattr(self.actor, what).remote(*words)
        except (TimeoutError, ray.exceptions.RayError) as error:
            raise ConnectionError(_one_line(error)) from None


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
