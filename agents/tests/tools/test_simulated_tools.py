"""Tools that a model plays: what it is told, and what becomes of its answers."""

from __future__ import annotations

import json
import logging

import pytest

from weft.engines.base import Engine, EngineError
from weft.llm import LLM
from weft.loading import LoadError
from weft.prompts.render import Prompts
from weft.row import ChatMessage, Row, ToolCall
from weft.testing import Scripted
from weft.tools.make import make_tools
from weft.tools.toolbox import Toolbox
from weft_api.pipeline import Tool as ToolSpec
from weft_api.plan import Prompt

STATE = {"type": "object", "properties": {"state": {"enum": ["open", "sent"]}}}


def spec(prompt: str | None = None, **simulated: object) -> ToolSpec:
    return ToolSpec.model_validate(
        {
            "name": "lookup",
            "description": "Looks an order up.",
            "parameters": {"type": "object", "properties": {"order": {"type": "string"}}},
            "simulated": {"prompt": prompt, **simulated} if prompt else simulated,
        }
    )


def toolbox(engine: Engine, one: ToolSpec, text: str = "x") -> tuple[Toolbox, LLM]:
    prompts = Prompts([Prompt(name="shop", text=text, version="abc123abc123")])
    llm = LLM(engine, seed=1)
    tools = make_tools([one], prompts)
    log = logging.getLogger("test")
    return Toolbox(tools, row_id="r1", hop=1, log=log, ask=lambda: llm), llm


def row() -> Row:
    earlier = ToolCall("c0", "lookup", '{"order": "A1"}')
    return Row(
        "r1",
        {"problem": "lost parcel"},
        {},
        [
            ChatMessage("user", "Where is A1?"),
            ChatMessage("assistant", "", [earlier]),
            ChatMessage("tool", '{"state": "sent"}', tool_call_id="c0", name="lookup"),
        ],
    )


CALL = ToolCall("c1", "lookup", '{"order": "A2"}')


async def test_the_model_is_told_the_api_the_scenario_and_the_earlier_results() -> None:
    engine = Scripted('{"state": "open"}')
    box, _ = toolbox(engine, spec(result=STATE))
    answer = await box.call(CALL, row())
    assert json.loads(answer.content) == {"state": "open"}
    system, user = engine.asked[0].messages
    assert "Looks an order up." in system.content
    assert "lost parcel" in system.content
    assert 'lookup({"order": "A1"}) -> {"state": "sent"}' in system.content
    assert '"enum": ["open", "sent"]' in system.content
    assert user.content == 'lookup({"order": "A2"})'
    assert engine.asked[0].schema == STATE


async def test_a_prompt_of_the_pipeline_gets_tool_arguments_and_history() -> None:
    engine = Scripted('{"state": "open"}')
    text = "{{ tool.name }} {{ arguments.order }} {{ history[0].result }} {{ row.problem }}"
    box, llm = toolbox(engine, spec("shop"), text)
    await box.call(CALL, row())
    assert engine.asked[0].messages[0].content == 'lookup A2 {"state": "sent"} lost parcel'
    assert llm.calls[0].prompt == "shop@abc123abc123"


async def test_an_answer_that_is_no_json_is_asked_for_again_and_then_told_as_a_failure() -> None:
    box, _ = toolbox(Scripted("hm", '{"state": "open"}'), spec())
    assert (await box.call(CALL, row())).content == '{"state": "open"}'
    box, _ = toolbox(Scripted("hm", "hm"), spec())
    failed = await box.call(CALL, row())
    assert "lookup is out of order" in failed.content
    assert box.traces[0].error


async def test_an_engine_that_fails_fails_the_attempt_and_not_the_dialogue() -> None:
    box, _ = toolbox(Scripted(EngineError("endpoint away", transient=True)), spec())
    with pytest.raises(EngineError, match="endpoint away"):
        await box.call(CALL, row())


def test_tools_that_cannot_work_are_refused_by_name() -> None:
    with pytest.raises(LoadError, match=r"tools\[lookup\]: simulated.prompt: there is no prompt"):
        make_tools([spec("nope")], Prompts([]))
    with pytest.raises(LoadError, match=r"tools\[lookup\]: simulated.result is not a JSON schema"):
        make_tools([spec(result={"type": "obj"})], Prompts([]))


def test_a_tools_version_names_its_definition() -> None:
    prompts = Prompts([])
    first, same = (make_tools([spec()], prompts)["lookup"].version for _ in range(2))
    other = make_tools([spec(result=STATE)], prompts)["lookup"].version
    assert first == same != other


def test_a_busy_engine_is_no_failure_of_the_tool_that_it_plays() -> None:
    assert make_tools([spec()], Prompts([]))["lookup"].timeout is None
