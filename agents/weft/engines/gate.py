"""The queue in front of an endpoint: callers wait here for what `Adaptive` decides."""

from __future__ import annotations

import asyncio
import math

from weft.engines.adaptive import Adaptive, Outcome, Ticket
from weft.engines.base import ROUTINE, Urgency
from weft.engines.turns import Turns


class Gate:
    """The most urgent first, then first come, first served; a call that is tried again goes before
    those of its urgency that are not yet tried."""

    def __init__(self, adaptive: Adaptive) -> None:
        self.adaptive = adaptive
        self._waiting: Turns[Ticket] = Turns()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, urgency: Urgency = ROUTINE, *, again: bool = False) -> Ticket:
        """Wait until a call may start, and start it; `leave` must follow."""
        loop = asyncio.get_running_loop()
        if not self._waiting and self.adaptive.wait(loop.time()) <= 0:
            return self.adaptive.start(loop.time())
        turn = self._waiting.join(urgency, again=again)
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(turn.result(), Outcome.OTHER)
            else:
                self._waiting.leave(turn)
            raise

    def leave(self, ticket: Ticket, outcome: Outcome, *, retry_after: float = 0.0) -> None:
        """The call has ended; whoever may start now does."""
        now = asyncio.get_running_loop().time()
        self.adaptive.end(ticket, outcome, now, retry_after=retry_after)
        self._admit()

    def pause(self, seconds: float) -> None:
        """No call starts for so long."""
        self.adaptive.pause(asyncio.get_running_loop().time() + seconds)

    def _admit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._waiting:
            now = loop.time()
            wait = self.adaptive.wait(now)
            if wait > 0:
                if wait < math.inf:
                    self._timer = loop.call_later(wait, self._admit)
                return
            if (turn := self._waiting.next()) is not None:
                turn.set_result(self.adaptive.start(now))
