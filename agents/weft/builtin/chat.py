"""ChatAgent: writes a dialogue, the assistant's turns and, where asked, the user's."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, ClassVar

from pydantic import Field

from weft.agent import Agent, AgentConfig
from weft.builtin.candidates import (
    CANDIDATES,
    Candidate,
    forget_after,
    keep_rejected,
)
from weft.builtin.checks import answers
from weft.context import Context
from weft.engines.base import EngineError
from weft.row import REJECTED_ANSWERS, ChatMessage, Row, ToolCall

EMPTY_REPLIES = 3
"""Times that a model is asked before its silence fails the attempt."""

BEGIN = "(The conversation begins. Write your first message.)"
REVISE = """\
A reviewer has read the conversation up to here and asks for a better answer:
{feedback}
Write your last answer again. Reply with the new answer only, and do not mention the reviewer."""


class ChatConfig(AgentConfig):
    """What can be set."""

    prompt: str = "draft"
    """Prompt that tells the model how to be the assistant."""
    user_prompt: str | None = None
    """Prompt that tells the model how to be the user; without it, only the assistant is played."""
    opening: str | None = None
    """Column that holds the user's first message."""
    turns: Annotated[int, Field(ge=1, le=1000)] = 1
    """Answers of the assistant that make a dialogue; more than one needs `userPrompt`."""
    turns_from: str | None = None
    """Column that holds the number of turns for its row; `turns` is then the most."""
    end_mark: str = "[END]"
    """When the user's message has this, the user is content and the dialogue ends."""
    tools: list[str] | None = None
    """Tools that the assistant is offered; default: all of the pipeline's; `[]`: none."""
    tool_rounds: Annotated[int, Field(ge=0, le=100)] = 4
    """Rounds of tool calls in one turn; then the model must answer."""
    candidates: Annotated[int, Field(ge=1, le=32)] = 1
    """Answers that are written at once for a turn; a `ValidatorAgent` chooses among them."""
    examples: Annotated[int, Field(ge=0, le=16)] = 0
    """Accepted rows that `prompt` gets as `examples` (each with `id` and `messages`)."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    user_temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """For the user's turns; default: `temperature`."""
    user_max_tokens: Annotated[int, Field(ge=1)] | None = None
    """For the user's turns; default: `maxTokens`."""


class ChatAgent(Agent):
    """Drafts a dialogue: each hop goes on until the assistant calls a tool or the turns are done.

    ```yaml
    kind: AgentPool
    metadata: {name: drafter}
    spec:
      pipelineRef: {name: support}
      agent: weft.builtin:ChatAgent
      config: {prompt: draft, userPrompt: customer, turns: 3, temperature: 0.9}
      engine: {openai: {baseURL: https://api.openai.com/v1, model: gpt-5-mini}}
    ```

    The user's first message comes from `userPrompt`, or from the column `opening`; with neither,
    the rendered `prompt` itself is the user's message. The flow sends rows with unanswered calls to
    a `ToolAgent` and back (`when: "has(row.tool_calls)"`). A row that comes back from a
    `ValidatorAgent` with the verdict `revise` has the answer in question (`revise_turn`, the last
    one by default) written again with the reviewer's `feedback`; what followed it is dropped, and
    the old answer goes to `rejected_answers`. With `candidates` the last answer is written several
    times at once, and the validator chooses.
    """

    Config: ClassVar[type[AgentConfig]] = ChatConfig
    config: ChatConfig

    @classmethod
    def fields_of(cls, config: Any) -> frozenset[str]:
        """`rejected_answers` holds what was revised; `candidates` what a validator chooses from."""
        return (
            cls.produces | {REJECTED_ANSWERS} | ({CANDIDATES} if config.candidates > 1 else set())
        )

    async def handle(self, row: Row, ctx: Context) -> str | None:
        config = self.config
        turns = self._turns(row)
        feedback = take_back(row) if row.get("verdict") == "revise" else None
        row.data.pop("verdict", None)
        row.tools = ctx.tools.definitions(config.tools)
        if not row.messages and config.user_prompt is None:
            opening = self._first_message(row, ctx, await self._examples(ctx))
            row.messages.append(ChatMessage("user", opening))
        while True:
            last = row.messages[-1].role if row.messages else "assistant"
            users = last == "assistant" and feedback is None
            if users and not await self._user_turn(row, ctx):
                return None
            most = self.config.candidates
            is_last = answers(row) + (feedback is None) >= turns
            reply = await self._assistant_turn(row, ctx, feedback, most if is_last else 1)
            if feedback is not None:
                row.messages.pop()
                feedback = None
            row.messages.append(reply)
            if reply.tool_calls or answers(row) >= turns:
                return None

    def _turns(self, row: Row) -> int:
        column = self.config.turns_from
        if column is None:
            return self.config.turns
        wanted = row.get(column)
        if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
            raise ValueError(
                f"config.turnsFrom: column `{column}` is {wanted!r:.60} in this row; "
                "it must be a whole number from 1 up"
            )
        return min(wanted, self.config.turns) if self.config.turns > 1 else wanted

    def _first_message(self, row: Row, ctx: Context, extra: dict[str, Any]) -> str:
        column = self.config.opening
        if column is None:
            return ctx.render(self.config.prompt, row, **extra)
        text = row.get(column)
        if not isinstance(text, str) or not text.strip():
            raise ValueError(
                f"config.opening: column `{column}` is {text!r:.60} in this row; it must be text"
            )
        return text

    async def _user_turn(self, row: Row, ctx: Context) -> bool:
        """Append the user's next message; False when the user has nothing more to say."""
        config = self.config
        if config.user_prompt is None:
            return False
        if not row.messages and config.opening is not None:
            row.messages.append(ChatMessage("user", self._first_message(row, ctx, {})))
            return True
        seen = [ChatMessage("system", ctx.render(config.user_prompt, row)), *mirrored(row.messages)]
        temperature = config.user_temperature
        for _ in range(EMPTY_REPLIES):
            reply = await ctx.llm.chat(
                seen,
                temperature=config.temperature if temperature is None else temperature,
                top_p=config.top_p,
                max_tokens=config.user_max_tokens or config.max_tokens,
            )
            if row.messages and config.end_mark and config.end_mark in reply.content:
                return False
            if reply.content.strip():
                reply.role = "user"
                reply.content = reply.content.strip()
                reply.tool_calls = []
                row.messages.append(reply)
                return True
        raise EngineError(f"{ctx.llm.model} wrote nothing as the user, {EMPTY_REPLIES} times")

    async def _assistant_turn(
        self, row: Row, ctx: Context, feedback: str | None, candidates: int
    ) -> ChatMessage:
        """The assistant's next message; where there are several candidates, the first, with all
        of them in the row."""
        row.data.pop(CANDIDATES, None)
        seen = await self._seen(row, ctx)
        if feedback is not None:
            seen.append(ChatMessage("user", REVISE.format(feedback=feedback)))
        offered = row.tools if rounds_of_tools(row) < self.config.tool_rounds else []
        replies: list[ChatMessage] = []
        if offered:
            replies = [await self._reply(seen, offered, row, ctx)]
            if replies[0].tool_calls:
                return replies[0]
        more = [self._reply(seen, [], row, ctx) for _ in range(candidates - len(replies))]
        replies += await gathered(more)
        if len(texts := list(dict.fromkeys(reply.content for reply in replies))) > 1:
            row[CANDIDATES] = texts
        return replies[0]

    async def _seen(self, row: Row, ctx: Context) -> list[ChatMessage]:
        """What the assistant sees before its answer."""
        config = self.config
        if config.user_prompt is None and config.opening is None:
            return list(row.messages)
        return ctx.prompt(config.prompt, row, **await self._examples(ctx))

    async def _examples(self, ctx: Context) -> dict[str, Any]:
        if not self.config.examples:
            return {}
        return {"examples": await ctx.examples(self.config.examples)}

    async def _reply(
        self, seen: list[ChatMessage], offered: list[dict[str, Any]], row: Row, ctx: Context
    ) -> ChatMessage:
        """One completion that says something."""
        config = self.config
        for _ in range(EMPTY_REPLIES):
            reply = await ctx.llm.chat(
                seen,
                temperature=config.temperature,
                top_p=config.top_p,
                max_tokens=config.max_tokens,
                tools=offered,
            )
            if not offered:
                reply.tool_calls = []
            if reply.tool_calls or reply.content.strip():
                reply.tool_calls = with_ids(reply.tool_calls, len(row.messages))
                return reply
        raise EngineError(f"{ctx.llm.model} gave an empty answer, {EMPTY_REPLIES} times")


async def gathered(asked: list[Coroutine[Any, Any, ChatMessage]]) -> list[ChatMessage]:
    """The replies in the order asked, all made at once; the first failure ends the others."""
    if len(asked) == 1:
        return [await asked[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in asked]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def rounds_of_tools(row: Row) -> int:
    """Messages with tool calls since the user spoke last."""
    rounds = 0
    for message in reversed(row.messages):
        if message.role == "user":
            break
        rounds += message.role == "assistant" and bool(message.tool_calls)
    return rounds


def take_back(row: Row) -> str | None:
    """Cut the dialogue after the answer that the reviewer wants written again, and give the
    feedback; None, with nothing cut, when there is no answer yet.

    `revise_turn` counts the assistant's answers from 1.
    """
    turn = row.get("revise_turn")
    at = [
        index
        for index, message in enumerate(row.messages)
        if message.role == "assistant" and not message.tool_calls
    ]
    if not at:
        return None
    cut = at[turn - 1] if isinstance(turn, int) and 1 <= turn <= len(at) else at[-1]
    del row.messages[cut + 1 :]
    feedback = str(row.get("feedback") or "The answer is not good enough.")
    forget_after(row, cut)
    keep_rejected(row, cut, Candidate(row.messages[cut].content, False, row.get("score"), feedback))
    return feedback


def mirrored(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The dialogue as the user sees it: roles exchanged, no tools; never without a message."""
    seen = [
        ChatMessage("user" if message.role == "assistant" else "assistant", message.content)
        for message in messages
        if message.role in ("user", "assistant") and message.content and not message.tool_calls
    ]
    return [ChatMessage("user", BEGIN), *seen] if not seen or seen[0].role != "user" else seen


def with_ids(calls: list[ToolCall], position: int) -> list[ToolCall]:
    """The calls with ids that differ; some models leave them out or repeat them."""
    seen: set[str] = set()
    for number, call in enumerate(calls):
        if not call.id or call.id in seen:
            call.id = f"call_{position}_{number}"
        seen.add(call.id)
    return calls
