"""Tools that an LLM plays: an API that is made up as the dialogue goes, and stays consistent.

The model is given the API's description, the scenario (the source's columns) and everything that
this row's tools have answered so far, so an order that was shipped a moment ago still is.
"""

from __future__ import annotations

import json
from typing import Any

from weft.llm import StructuredError
from weft.prompts.render import Prompts
from weft.reply_json import Shape
from weft.row import ChatMessage, Row
from weft.tools.base import Tool, ToolCallContext, ToolError

MAX_HISTORY = 24
"""Earlier calls that the model is reminded of; the latest count."""
MAX_HISTORY_CHARACTERS = 24_000
MAX_TOKENS = 500
"""For a result whose schema sets no bound of its own."""
TEMPERATURE = 0.3
MAX_SCENARIO = 6_000

INSTRUCTIONS = """\
You simulate the backend of a software system that an assistant calls through an API. You are the \
API, not the assistant: answer with data, never with advice or conversation.

The function that is called: {name}
What it does: {description}
Its arguments: {parameters}
Its result: {result}

{scenario}{history}Rules:
- Answer with one JSON object that matches the schema of the result, and nothing else.
- Be realistic and specific: ids, dates, amounts and states that fit the scenario.
- Never contradict an earlier result. What an earlier call has changed stays changed; asking again \
for the same thing gives the same data.
- If the arguments name something that cannot exist, or the action is impossible in the present \
state, say so in the way that the schema offers; where it offers none, answer {{"error": "why"}}.
"""


class SimulatedTool(Tool):
    """Answers by the engine of the pool that runs the tools."""

    def __init__(
        self,
        name: str,
        description: str,
        parameters: dict[str, Any],
        *,
        prompts: Prompts,
        prompt: str | None = None,
        result: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        """`prompt` names a prompt of the pipeline to use instead of ours; its template gets `row`,
        `tool` (name, description, parameters), `arguments`, `result` (`result` as text) and
        `history` (earlier calls). `result` is the JSON schema of the answers."""
        # No time-out of its own: waiting for a busy engine is no failure of the tool it plays, and
        # must not turn up in a dialogue as one.
        super().__init__(name, description, parameters, timeout=None, **settings)
        self._prompts = prompts
        self._prompt = prompt
        self._result = result or {"type": "object"}
        try:
            bounded = Shape.of(self._result).longest is not None
        except ValueError as error:
            raise ToolError(f"simulated.result is not a JSON schema: {error}") from None
        self._max_tokens = None if bounded else MAX_TOKENS

    async def call(self, arguments: dict[str, Any], call: ToolCallContext) -> str:
        llm = call.ask()
        history = earlier_calls(call.row)
        function = self.definition["function"]
        if self._prompt is None:
            llm.prompt = ""
            text = self._instructions(call.row, history)
        else:
            llm.prompt = f"{self._prompt}@{self._prompts.version(self._prompt)}"
            text = self._prompts.render(
                self._prompt,
                call.row,
                tool=function,
                arguments=arguments,
                history=history,
                result=json.dumps(self._result),
            )
        asked = f"{self.name}({json.dumps(arguments, ensure_ascii=False)})"
        try:
            result = await llm.structured(
                [ChatMessage("system", text), ChatMessage("user", asked)],
                self._result,
                repairs=1,
                temperature=TEMPERATURE,
                max_tokens=self._max_tokens,
            )
        except StructuredError as error:
            raise ToolError(f"{self.name} is out of order: {error}") from None
        return json.dumps(result, ensure_ascii=False)

    def _instructions(self, row: Row, history: list[dict[str, str]]) -> str:
        scenario = json.dumps(row.source, ensure_ascii=False, default=str)
        if len(scenario) > MAX_SCENARIO:
            scenario = scenario[:MAX_SCENARIO] + " …"
        told = "\n".join(f"{one['call']} -> {one['result']}" for one in history)
        return INSTRUCTIONS.format(
            name=self.name,
            description=self.description,
            parameters=json.dumps(self.parameters, ensure_ascii=False),
            result=json.dumps(self._result, ensure_ascii=False),
            scenario=f"The scenario of this dialogue: {scenario}\n\n" if row.source else "",
            history=f"Earlier calls and their results:\n{told}\n\n" if told else "",
        )


def earlier_calls(row: Row) -> list[dict[str, str]]:
    """The dialogue's answered calls, oldest first: `{call: "name({…})", result: "…"}`."""
    calls = {call.id: call for message in row.messages for call in message.tool_calls}
    told: list[dict[str, str]] = []
    left = MAX_HISTORY_CHARACTERS
    for message in reversed(row.messages):
        call = calls.get(message.tool_call_id or "")
        if message.role != "tool" or call is None:
            continue
        left -= len(message.content) + len(call.arguments)
        if left < 0 or len(told) == MAX_HISTORY:
            break
        told.append({"call": f"{call.name}({call.arguments})", "result": message.content})
    return told[::-1]
