"""Large bodies in Ray's object store: the message names them, and who gets it fetches them.

Ray does not count a reference that leaves its own calls, so the holder keeps the object until the
message is settled, and hands it out by a call to its actor.
"""

from __future__ import annotations

import asyncio
from typing import Any

import ray

from weft.protocol.message import Message, Part

LARGE = 256 << 10
"""Bytes from which a body stays behind: below, a second way costs more than the copies."""
FETCH_TIMEOUT = 60.0


class PartLost(Exception):
    """The holder has died, and the body with it."""


class RayParts:
    """The parts that one process holds, and its way to those of others."""

    def __init__(self, actor: str) -> None:
        """`actor`: this process's name among Ray's actors."""
        self._actor = actor
        self._next = 0
        self._held: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._held)

    def stow(self, message: Message) -> None:
        if len(message.body) < LARGE:
            return
        self._next += 1
        self._held[self._next] = ray.put(message.body)
        message.part = Part(self._actor, self._next, len(message.body))
        message.body = b""

    def drop(self, part: Part) -> None:
        if part.holder == self._actor:
            self._held.pop(part.key, None)

    def clear(self) -> None:
        """The node is void, and its messages with it."""
        self._held.clear()

    def hand_out(self, key: int) -> list[Any]:
        """The reference (in a list, so that Ray does not fetch it on the way); [] when dropped."""
        ref = self._held.get(key)
        return [] if ref is None else [ref]

    async def fetch(self, part: Part) -> bytes:
        """The body. Raises `PartLost`."""
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                if part.holder == self._actor:
                    refs = self.hand_out(part.key)
                else:
                    loop = asyncio.get_running_loop()
                    holder = await loop.run_in_executor(None, ray.get_actor, part.holder)
                    refs = await holder.part.options(max_task_retries=0).remote(part.key)
                if not refs:
                    raise PartLost(f"{part.holder} has dropped it")
                body: bytes = await refs[0]
                return body
        except (ValueError, TimeoutError, ray.exceptions.RayError) as error:
            raise PartLost(str(error).split("\n")[0]) from None
