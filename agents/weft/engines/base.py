"""What every engine offers: a chat request in, a chat result out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import msgspec

from weft.row import ChatMessage


class Urgency(NamedTuple):
    """Of two calls that wait for the same engine, the lower goes first; the default is last."""

    rank: int = 0
    """The row's priority with its sign changed."""
    deadline: float = math.inf
    """When the row is late, in Unix time."""

    @classmethod
    def of(cls, priority: int, deadline: float) -> Urgency:
        """As they stand in a message's header, where a deadline of 0 is none."""
        return cls(-priority, deadline or math.inf) if priority or deadline else ROUTINE


ROUTINE = Urgency()


class ChatRequest(msgspec.Struct, kw_only=True):
    """One call. `None` leaves a sampling parameter to the engine's own default."""

    messages: list[ChatMessage]
    tools: list[dict[str, Any]] = []
    """Tool definitions in the OpenAI `tools` form."""
    schema: dict[str, Any] | None = None
    """A JSON schema that the reply's content must match; engines constrain where they can."""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: list[str] = []
    seed: int | None = None
    urgency: Urgency = ROUTINE
    """Where the call waits, its place in the queue. Of no effect on the reply."""


class ChatResult(msgspec.Struct, kw_only=True):
    """The reply, and what it cost in tokens."""

    message: ChatMessage
    model: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str = "stop"


class EngineError(Exception):
    """A call that failed for good, after the engine's own retries.

    The text is for the person who reads the dead letter: what was asked of whom, what came back,
    and what to do. `transient` says that the same call may work later (a full or absent endpoint),
    so the row is worth another attempt.
    """

    def __init__(self, text: str, *, transient: bool = False) -> None:
        super().__init__(text)
        self.transient = transient


class EngineDead(EngineError):
    """The engine of this process will never answer again; every further call raises this at once.

    The row is not at fault: an agent that meets this must stop taking rows and hand back those it
    has, or it would use up their attempts in no time.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text, transient=True)


class Engine(ABC):
    """A source of model replies. One per agent process; calls run concurrently."""

    model: str
    """The name that goes into provenance."""
    trouble: str = ""
    """Why calls fail at the moment and are made again; one line, empty once a call is answered."""

    async def start(self) -> None:  # noqa: B027  (optional to override)
        """Get ready (load weights, check the endpoint). Raises `EngineError` when that is vain."""

    @abstractmethod
    async def chat(self, request: ChatRequest) -> ChatResult:
        """Answer one request. Raises `EngineError`."""

    async def close(self) -> None:  # noqa: B027
        """Let go of everything; no call is under way any more."""
