"""`ctx.llm`: the engine as an agent's author sees it, with every call on record.

One `LLM` is made per hop. It adds to the engine what belongs to a hop: a seed for each call, the
record of the calls (`calls`, which becomes part of the trace segment), and structured output with a
repair loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from time import perf_counter
from typing import Any

from pydantic import BaseModel

from weft.engines.base import ROUTINE, ChatRequest, Engine, EngineError, Urgency
from weft.reply_json import ReplyFault, Shape
from weft.reply_length import tokens_for
from weft.row import ChatMessage
from weft.segment import ModelCall

WARMER = 0.8
"""The least temperature after a reply that ran on. Under a grammar that allows white space anywhere
(vLLM's default), greedy decoding may repeat it for ever, and would again."""
MOST_REPEATED = 400
"""Characters of a reply that ran on which the model sees again: a loop in sight invites another."""


class StructuredError(EngineError):
    """No reply fitted the schema, however often the model was asked to repair it."""


class LLM:
    """Calls of one engine on behalf of one hop.

    `seed` is the hop's; call number n of the hop uses `derived_seed(seed, n)` unless it brings its
    own, so that a hop that runs again asks the same. `prompt` is the `name@version` that the next
    calls are recorded with; whoever renders a prompt sets it.
    """

    __slots__ = ("_asked", "_engine", "_seed", "_urgency", "calls", "prompt", "replies")

    def __init__(
        self, engine: Engine, *, seed: int, prompt: str = "", urgency: Urgency = ROUTINE
    ) -> None:
        self._engine = engine
        self._seed = seed
        self._urgency = urgency
        self._asked = 0
        self.prompt = prompt
        self.calls: list[ModelCall] = []
        self.replies: list[ChatMessage] = []
        """The reply of each call, so that its place in the dialogue can be found afterwards."""

    @property
    def model(self) -> str:
        """The name of the engine's model."""
        return self._engine.model

    async def chat(
        self,
        messages: Sequence[ChatMessage] | str,
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        tools: Sequence[dict[str, Any]] = (),
        schema: dict[str, Any] | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> ChatMessage:
        """The model's next message. A string is one `user` message.

        With `schema` the engine is asked for JSON that matches; nothing is checked here (that is
        `structured`). Why the reply ended is in `calls[-1].finish_reason`. Raises `EngineError`.
        """
        if seed is None:
            seed = derived_seed(self._seed, self._asked)
        self._asked += 1
        request = ChatRequest(
            messages=[ChatMessage("user", messages)]
            if isinstance(messages, str)
            else list(messages),
            tools=list(tools),
            schema=schema,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            stop=list(stop),
            seed=seed,
            urgency=self._urgency,
        )
        sampling: dict[str, Any] = {}
        if temperature is not None:
            sampling["temperature"] = temperature
        if top_p is not None:
            sampling["top_p"] = top_p
        if max_tokens is not None:
            sampling["max_tokens"] = max_tokens
        if request.stop:
            sampling["stop"] = request.stop
        prompt = self.prompt
        started = perf_counter()
        result = await self._engine.chat(request)
        self.calls.append(
            ModelCall(
                model=result.model,
                seconds=perf_counter() - started,
                prompt_tokens=result.prompt_tokens,
                completion_tokens=result.completion_tokens,
                seed=seed,
                sampling=sampling,
                prompt=prompt,
                finish_reason=result.finish_reason,
            )
        )
        self.replies.append(result.message)
        return result.message

    async def structured(
        self,
        messages: Sequence[ChatMessage] | str,
        schema: dict[str, Any] | type[BaseModel],
        *,
        repairs: int = 2,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
    ) -> Any:
        """A value that matches the schema: parsed JSON, or an instance of the pydantic model.

        A reply that does not fit goes back to the model with what is wrong, at most `repairs`
        times. Without `max_tokens`, a schema that bounds the reply sets the limit: a token for each
        character of the longest that fits. Where it cuts a shorter reply, the tokens went elsewhere
        (into thinking, say), and the next try has four times as many; after one that ran on, the
        next is at a temperature of at least 0.8. Raises `StructuredError` after the last,
        `EngineError` where a call failed, and `ValueError` when the schema itself is not one.
        """
        shape = Shape.of(schema)
        dialogue = [ChatMessage("user", messages)] if isinstance(messages, str) else list(messages)
        longest = shape.longest if max_tokens is None else None
        limit = max_tokens if longest is None else tokens_for(longest)
        for left in range(repairs, -1, -1):
            reply = await self.chat(
                dialogue,
                temperature=temperature,
                top_p=top_p,
                max_tokens=limit,
                schema=shape.schema,
                seed=seed,
            )
            try:
                return shape.read(reply.content)
            except ReplyFault as fault:
                problem = str(fault)
            if cut := self.calls[-1].finish_reason == "length":
                problem += " (it was cut off at the token limit)"
            if not left:
                raise StructuredError(
                    f"{self._engine.model} gave no reply that fits the schema in {repairs + 1} "
                    f"tries; the last fault: {problem}; the last reply began: "
                    f"{reply.content[:160]!r}. "
                    + (
                        "Raise max_tokens"
                        if cut
                        else "Simplify the schema, state it in the prompt, or use another model"
                    )
                )
            # The same seed again could give the same fault again; the next is derived.
            seed = None
            if cut and limit and longest is not None and len(reply.content) <= longest:
                limit *= 4
                continue
            said = reply.content
            if cut:
                said = said[:MOST_REPEATED].rstrip()
                temperature = None if temperature is None else max(temperature, WARMER)
            dialogue += [
                ChatMessage("assistant", said),
                ChatMessage(
                    "user",
                    f"That reply does not fit: {problem}. Answer again"
                    + (", shorter," if cut else "")
                    + " with nothing but JSON that matches the schema.",
                ),
            ]
        raise ValueError(f"repairs: {repairs} is negative; give 0 or more")


def derived_seed(seed: int, number: int) -> int:
    """The seed of a hop's call `number`: 31 bits, since some endpoints take no more."""
    digest = blake2b(b"%d %d" % (seed, number), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF
