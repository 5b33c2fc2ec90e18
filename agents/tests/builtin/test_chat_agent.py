"""ChatAgent: who speaks when, with what before the eyes."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from weft.builtin import ChatAgent
from weft.builtin.chat import BEGIN, mirrored
from weft.context import Context, Setting
from weft.engines.base import EngineError
from weft.loading import check_config
from weft.prompts.render import Prompts
from weft.row import ChatMessage, Row, ToolCall
from weft.testing import Scripted
from weft.tools.make import make_tools
from weft_api.pipeline import Tool
from weft_api.plan import Prompt

PROMPTS = Prompts(
    [
        Prompt(name="draft", text="You help with {{ row.topic }}.", version="d" * 12),
        Prompt(name="user", text="You are a customer with {{ row.topic }}.", version="e" * 12),
    ]
)
TOOLS = make_tools(
    [
        Tool.model_validate({"name": name, "description": name, "simulated": {}})
        for name in ("look", "pay")
    ],
    PROMPTS,
)


def context(engine: Scripted, hop: int = 0) -> Context:
    setting = Setting("drafter", "drafter", 7, engine, PROMPTS, TOOLS, logging.getLogger("test"))
    return Context(setting, row_key=1, row_id="r1", hop=hop, attempt=1)


def agent(**config: Any) -> ChatAgent:
    return ChatAgent(check_config(ChatAgent, config, "config"))


def spoken(row: Row) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in row.messages]


def row(**data: Any) -> Row:
    return Row("r1", {"topic": "a parcel", "question": "Where is it?", "many": 2}, data)


def calls(*names: str, ids: str = "abc") -> ChatMessage:
    made = [ToolCall(id, name) for id, name in zip(ids, names, strict=False)]
    return ChatMessage("assistant", "", made)


async def test_without_a_user_the_prompt_is_the_users_message() -> None:
    given, engine = row(), Scripted("Gladly.")
    assert await agent().handle(given, context(engine)) is None
    assert spoken(given) == [("user", "You help with a parcel."), ("assistant", "Gladly.")]
    assert [message.role for message in engine.asked[0].messages] == ["user"]


async def test_the_opening_comes_from_a_column() -> None:
    given, engine = row(), Scripted("Gladly.")
    await agent(opening="question").handle(given, context(engine))
    assert spoken(given) == [("user", "Where is it?"), ("assistant", "Gladly.")]
    assert [m.content for m in engine.asked[0].messages] == [
        "You help with a parcel.",
        "Where is it?",
    ]


async def test_user_and_assistant_take_turns_until_there_are_enough() -> None:
    given, engine = row(), Scripted("Hi", "Hello", "And?", "So.")
    await agent(userPrompt="user", turns=2).handle(given, context(engine))
    assert spoken(given) == [
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "And?"),
        ("assistant", "So."),
    ]
    users = engine.asked[2].messages
    assert [(m.role, m.content) for m in users] == [
        ("system", "You are a customer with a parcel."),
        ("user", BEGIN),
        ("assistant", "Hi"),
        ("user", "Hello"),
    ]


async def test_the_number_of_turns_can_be_the_rows_own() -> None:
    given, engine = row(), Scripted("Hi", "Hello", "And?", "So.")
    await agent(userPrompt="user", turnsFrom="many").handle(given, context(engine))
    assert len(given.messages) == 4
    with pytest.raises(ValueError, match="column `topic` is 'a parcel' in this row"):
        await agent(userPrompt="user", turnsFrom="topic").handle(row(), context(Scripted()))


async def test_a_content_user_ends_the_dialogue() -> None:
    given, engine = row(), Scripted("Hi", "Hello", "Thanks! [END]")
    await agent(userPrompt="user", turns=9).handle(given, context(engine))
    assert spoken(given) == [("user", "Hi"), ("assistant", "Hello")]


async def test_a_tool_call_leaves_the_hop_and_the_next_one_goes_on() -> None:
    given, engine = row(), Scripted("Hi", calls("look"))
    config = agent(userPrompt="user", tools=["look"])
    await config.handle(given, context(engine))
    assert [call.name for call in given.pending_tool_calls] == ["look"]
    assert [tool["function"]["name"] for tool in given.tools] == ["look"]
    given.messages.append(ChatMessage("tool", '{"at": "depot"}', tool_call_id="a"))
    engine = Scripted("It is at the depot.")
    await config.handle(given, context(engine, hop=2))
    assert given.messages[-1].content == "It is at the depot."
    assert engine.asked[0].messages[-1].role == "tool"


async def test_tools_are_all_those_of_the_pipeline_unless_listed() -> None:
    for names, expected in ((None, ["look", "pay"]), ([], []), (["pay"], ["pay"])):
        given = row()
        config = agent(opening="question", **({} if names is None else {"tools": names}))
        await config.handle(given, context(Scripted("Ok")))
        assert [tool["function"]["name"] for tool in given.tools] == expected


async def test_after_enough_rounds_of_tools_the_model_must_answer() -> None:
    given = row()
    given.messages += [ChatMessage("user", "Hi")]
    for _ in range(2):
        given.messages += [calls("look"), ChatMessage("tool", "{}", tool_call_id="a")]
    engine = Scripted("Done.")
    await agent(opening="question", toolRounds=2).handle(given, context(engine))
    assert engine.asked[0].tools == []


async def test_calls_get_ids_that_differ() -> None:
    given = row()
    await agent(opening="question").handle(
        given, context(Scripted(calls("look", "pay", "look", ids=["", "x", "x"])))
    )
    assert [call.id for call in given.pending_tool_calls] == ["call_1_0", "x", "call_1_2"]


async def test_a_silent_model_is_asked_again_and_then_fails_the_attempt() -> None:
    given = row()
    await agent(opening="question").handle(given, context(Scripted("", " ", "Yes.")))
    assert spoken(given)[-1] == ("assistant", "Yes.")
    with pytest.raises(EngineError, match="an empty answer, 3 times"):
        await agent(opening="question").handle(row(), context(Scripted("", "", "")))


async def test_a_revision_writes_the_last_answer_again_with_the_feedback() -> None:
    given = row(verdict="revise", feedback="Name a date.")
    given.messages += [ChatMessage("user", "When?"), ChatMessage("assistant", "Soon.")]
    engine = Scripted("On Friday.")
    await agent(opening="question").handle(given, context(engine))
    assert spoken(given) == [("user", "When?"), ("assistant", "On Friday.")]
    assert "Name a date." in engine.asked[0].messages[-1].content
    assert engine.asked[0].messages[-2].content == "Soon."
    assert "verdict" not in given.data


async def test_a_revision_of_an_earlier_answer_drops_what_followed_and_goes_on() -> None:
    given = row(verdict="revise", feedback="Be kind.", revise_turn=1)
    for user, assistant in (("Hi", "What?"), ("Well", "No.")):
        given.messages += [ChatMessage("user", user), ChatMessage("assistant", assistant)]
    await agent(userPrompt="user", turns=2).handle(given, context(Scripted("Hello!", "So?", "Yes")))
    assert spoken(given) == [
        ("user", "Hi"),
        ("assistant", "Hello!"),
        ("user", "So?"),
        ("assistant", "Yes"),
    ]


async def test_a_revision_may_call_a_tool_first() -> None:
    given = row(verdict="revise", feedback="Look it up.")
    given.messages += [ChatMessage("user", "When?"), ChatMessage("assistant", "Soon.")]
    await agent(opening="question").handle(given, context(Scripted(calls("look"))))
    assert [m.role for m in given.messages] == ["user", "assistant"]
    assert given.pending_tool_calls


async def test_records_name_prompt_and_message() -> None:
    given, engine = row(), Scripted("Hi", "Hello")
    ctx = context(engine)
    await agent(userPrompt="user", temperature=0.5, userTemperature=1.0).handle(given, ctx)
    ctx.locate(given)
    assert [(c.prompt, c.message, c.sampling["temperature"]) for c in ctx.model_calls] == [
        ("user@eeeeeeeeeeee", 0, 1.0),
        ("draft@dddddddddddd", 1, 0.5),
    ]


def test_the_user_sees_no_tools() -> None:
    seen = mirrored(
        [
            ChatMessage("user", "Hi"),
            calls("look"),
            ChatMessage("tool", "{}", tool_call_id="a"),
            ChatMessage("assistant", "Done"),
        ]
    )
    assert [(m.role, m.content) for m in seen] == [
        ("user", BEGIN),
        ("assistant", "Hi"),
        ("user", "Done"),
    ]
