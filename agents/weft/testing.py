"""Try a pipeline on single rows, in this process: no Ray, no output, milliseconds a row.

    plan = load(["my-pipeline/"]).compile()
    async with Rows(plan) as rows:
        walked = await rows.run(Row("r1", {"question": "…"}))
    assert walked.end == "$accept" and walked.path == ["drafter", "validator"]

Flow, prompts, tools, agents, engines and the handling of failures are those of a real run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from weft.agent import Agent
from weft.engines import make_engine
from weft.engines.base import ChatRequest, ChatResult, Engine
from weft.protocol.join import divided
from weft.protocol.message import ENDS, Message
from weft.row import ChatMessage, Row, decode_row, encode_row
from weft.runtime.hops import Again, Hops, Identity, make_agent
from weft.segment import Segment, decode_segment
from weft_api.plan import Plan


class Scripted(Engine):
    """An engine that gives these replies in turn, and keeps what it was asked (`asked`).

    A reply is a text, a whole message, or an exception to raise. One call more than there are
    replies raises `AssertionError`.
    """

    model = "scripted"

    def __init__(self, *replies: str | ChatMessage | Exception) -> None:
        self.replies = list(replies)
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest) -> ChatResult:
        self.asked.append(request)
        if not self.replies:
            raise AssertionError(f"no reply left for: {request.messages[-1].content[:200]}")
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        message = ChatMessage("assistant", reply) if isinstance(reply, str) else reply
        return ChatResult(message=message, model=self.model, prompt_tokens=1, completion_tokens=1)


class Walked(msgspec.Struct):
    """A row that has come to its end."""

    row: Row
    end: str
    """`$accept`, `$reject` or `$dead`."""
    reason: str
    """Why, for the latter two."""
    segments: list[Segment]
    """One for each hop."""

    @property
    def path(self) -> list[str]:
        """The steps, in the order in which the row came to them."""
        return [segment.step for segment in self.segments]


class Rows:
    """Runs rows through a plan; of several pools that serve a step, the first is used.

    `engines` replaces the engines of pools, by name; those of the others are the manifest's.
    """

    def __init__(self, plan: Plan, *, engines: Mapping[str, Engine] | None = None) -> None:
        self._plan = plan
        self._given = engines or {}
        self._parts: list[tuple[Agent, Engine]] = []
        self._hops: dict[str, Hops] = {}

    async def __aenter__(self) -> Self:
        plan = self._plan
        for step in plan.flow.steps:
            pool = plan.pools_of(step.name)[0]
            engine = self._given.get(pool.name) or make_engine(
                pool.engine, seed=plan.seed, environ=os.environ
            )
            agent = make_agent(plan, pool.name)
            await engine.start()
            await agent.start()
            self._parts.append((agent, engine))
            who = Identity(pool.name, f"{pool.name}-0", pool.revision, pool.image)
            self._hops[step.name] = Hops(plan, who, agent, engine)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hops in self._hops.values():
            await hops.close()
        for agent, engine in self._parts:
            await agent.close()
            await engine.close()

    async def run(self, row: Row, *, number: int = 0) -> Walked:
        """Take a copy of the row to its end. Attempts that failed are made again at once."""
        message = Message(number, 1, 0, 0, self._plan.flow.entry, 0, encode_row(row))
        segments: list[Segment] = []
        await self._walk(message, segments)
        return Walked(decode_row(message.body), message.to, message.reason, segments)

    async def _walk(self, message: Message, segments: list[Segment]) -> None:
        """Take the row, or a branch, to its end, or to its join."""
        branches: list[Message] = []
        while message.to not in ENDS and not (message.branch and message.at_join):
            passed = await self._hops[message.to].handle(message, branches)
            if isinstance(passed, Again):
                message.attempts += 1
                continue
            segments.append(decode_segment(passed.segment))
            if passed.ways:
                row, *branches = divided(message, passed.body, passed.ways, passed.to)
                for branch in branches:
                    await self._walk(branch, segments)
                    if branch.branch and branch.to in ENDS:
                        branch.branch = replace(branch.branch, end=branch.to)
                message.hop = max(part.hop for part in (row, *branches))
            else:
                branches = []
                message.hop += 1
            message.to, message.body, message.reason = passed.to, passed.body, passed.reason
            message.attempts = 0


async def run_row(plan: Plan, row: Row | dict[str, Any], **settings: Any) -> Walked:
    """One row through the plan; a dict is taken as the source's columns."""
    async with Rows(plan, **settings) as rows:
        return await rows.run(row if isinstance(row, Row) else Row(str(row.get("id", 0)), row))
