"""ToolAgent, ValidatorAgent, MetadataAgent, EchoAgent."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from weft.agent import Agent
from weft.builtin import EchoAgent, MetadataAgent, ToolAgent, ValidatorAgent
from weft.builtin.language import UNSURE, guess_language
from weft.context import Context, Setting
from weft.engines.base import Engine, EngineError
from weft.llm import StructuredError
from weft.loading import LoadError, check_config
from weft.prompts.render import Prompts
from weft.row import ChatMessage, Row, ToolCall
from weft.testing import Scripted
from weft.tools.base import Tool
from weft.tools.python import PythonTool
from weft_api.plan import Prompt

PROMPTS = Prompts([Prompt(name="judge", text="Judge {{ row.topic }}.", version="f" * 12)])


def context(
    engine: Engine | None = None, tools: dict[str, Tool] | None = None, row_key: int = 1
) -> Context:
    log = logging.getLogger("test")
    setting = Setting("step", "pool", 7, engine or Scripted(), PROMPTS, tools or {}, log)
    return Context(setting, row_key=row_key, row_id="r1", hop=1, attempt=1)


def make(cls: type[Agent], **config: Any) -> Agent:
    return cls(check_config(cls, config, "config"))


def row(*messages: ChatMessage, **data: Any) -> Row:
    return Row("r1", {"topic": "a parcel", "answer": "#### 18"}, data, list(messages))


def dialogue(answer: str = "It comes on Friday.", **data: Any) -> Row:
    return row(ChatMessage("user", "When?"), ChatMessage("assistant", answer), **data)


# ToolAgent


async def wait(seconds: float) -> str:
    """Waits."""
    await asyncio.sleep(seconds)
    return str(seconds)


async def fail() -> str:
    """Fails for good."""
    raise EngineError("away", transient=True)


TOOLS: dict[str, Tool] = {"wait": PythonTool("wait", wait), "fail": PythonTool("fail", fail)}


def asking(*arguments: float) -> Row:
    calls = [ToolCall(f"c{n}", "wait", json.dumps({"seconds": s})) for n, s in enumerate(arguments)]
    return row(ChatMessage("user", "Go"), ChatMessage("assistant", "", calls))


async def test_several_calls_run_at_once_and_are_answered_in_their_order() -> None:
    given, ctx = asking(0.06, 0.0, 0.03), context(tools=TOOLS)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await make(ToolAgent).handle(given, ctx)
    assert loop.time() - began < 0.085
    assert [(m.tool_call_id, m.content) for m in given.messages[2:]] == [
        ("c0", "0.06"),
        ("c1", "0.0"),
        ("c2", "0.03"),
    ]
    ctx.locate(given)
    assert [(t.call_id, t.message) for t in ctx.tool_traces] == [("c0", 2), ("c1", 3), ("c2", 4)]
    assert not given.pending_tool_calls


async def test_calls_can_be_made_one_after_the_other() -> None:
    given, loop = asking(0.03, 0.03), asyncio.get_running_loop()
    began = loop.time()
    await make(ToolAgent, parallel=1).handle(given, context(tools=TOOLS))
    assert loop.time() - began >= 0.06


async def test_a_row_without_calls_passes_through() -> None:
    given = dialogue()
    assert await make(ToolAgent).handle(given, context()) is None
    assert given == dialogue()


async def test_an_engine_error_in_one_of_several_calls_is_raised_as_itself() -> None:
    given = asking(0.0)
    given.messages[-1].tool_calls.append(ToolCall("c9", "fail"))
    with pytest.raises(EngineError, match="away"):
        await make(ToolAgent).handle(given, context(tools=TOOLS))


async def test_an_unknown_tool_is_answered_with_the_error() -> None:
    given = row(ChatMessage("assistant", "", [ToolCall("c0", "wiat")]))
    await make(ToolAgent).handle(given, context(tools=TOOLS))
    assert "did you mean" in given.messages[-1].content


# ValidatorAgent


def judged(score: int, turn: int = 0) -> str:
    return json.dumps({"score": score, "feedback": "Name a date.", "turn": turn})


@pytest.mark.parametrize(
    ("score", "revisions", "verdict"),
    [(10, 0, "accept"), (7, 2, "accept"), (6, 0, "revise"), (3, 1, "revise"), (6, 2, "reject"),
     (2, 0, "reject"), (1, 0, "reject")],
)  # fmt: skip
async def test_the_judges_score_decides(score: int, revisions: int, verdict: str) -> None:
    given = dialogue(revisions=revisions)
    engine = Scripted(judged(score))
    await make(ValidatorAgent, prompt="judge").handle(given, context(engine))
    assert (given["verdict"], given["score"]) == (verdict, score)
    assert given["feedback"] == "Name a date."
    assert given["revisions"] == revisions + (verdict == "revise")
    assert ("reason" in given.data) is (verdict == "reject")
    system, user = engine.asked[0].messages
    assert system.content == "Judge a parcel."
    assert "Assistant (1): It comes on Friday." in user.content


async def test_the_judge_names_the_answer_to_be_written_again() -> None:
    given = dialogue()
    await make(ValidatorAgent, prompt="judge").handle(given, context(Scripted(judged(5, turn=1))))
    assert given["revise_turn"] == 1
    await make(ValidatorAgent, prompt="judge").handle(given, context(Scripted(judged(9))))
    assert "revise_turn" not in given.data


async def test_a_judge_that_names_an_answer_that_is_not_there_is_asked_again() -> None:
    given, engine = dialogue(), Scripted(judged(5, turn=4), judged(5, turn=1))
    await make(ValidatorAgent, prompt="judge").handle(given, context(engine))
    assert given["revise_turn"] == 1


async def test_a_judge_that_never_gives_json_fails_the_attempt() -> None:
    with pytest.raises(StructuredError):
        await make(ValidatorAgent, prompt="judge").handle(
            dialogue(), context(Scripted("hm", "hm", "hm"))
        )


async def test_a_failed_check_spares_the_judge() -> None:
    given = dialogue("As an AI, I cannot.")
    config = {
        "prompt": "judge",
        "checks": [{"regex": {"pattern": "As an AI", "forbidden": True}, "otherwise": "reject"}],
    }
    await make(ValidatorAgent, **config).handle(given, context(Scripted()))
    assert given["verdict"] == "reject"
    assert "As an AI" in given["reason"]
    assert "score" not in given.data


async def test_checks_alone_need_no_model() -> None:
    given = dialogue("#### 17")
    validator = make(ValidatorAgent, checks=[{"number": {"equals": "answer"}}], maxRevisions=1)
    await validator.handle(given, context())
    assert (given["verdict"], given["revisions"]) == ("revise", 1)
    await validator.handle(given, context())
    assert given["verdict"] == "reject"
    given.messages[-1].content = "#### 18"
    await validator.handle(given, context())
    assert given["verdict"] == "accept"


def test_fields_depend_on_whether_there_is_a_judge() -> None:
    checks = [{"length": {"min": 1}}]
    alone = check_config(ValidatorAgent, {"checks": checks}, "config")
    judge = check_config(ValidatorAgent, {"prompt": "judge"}, "config")
    assert "score" not in ValidatorAgent.fields_of(alone)
    assert "score" in ValidatorAgent.fields_of(judge)


# MetadataAgent


async def test_what_can_be_counted_needs_no_model() -> None:
    given = row(
        ChatMessage("user", "Where is my parcel, and when does it come to me?"),
        ChatMessage("assistant", "", [ToolCall("a", "look"), ToolCall("b", "look")]),
        ChatMessage("tool", "{}", tool_call_id="a"),
        ChatMessage("assistant", "It is at the depot and will be with you on Friday."),
    )
    await make(MetadataAgent).handle(given, context())
    assert given.data == {
        "turns": 2,
        "tool_names": ["look"],
        "tool_call_count": 2,
        "characters": 98,
        "approximate_tokens": 25,
        "language": "en",
    }


async def test_labels_are_asked_for_by_their_values() -> None:
    given, engine = dialogue(), Scripted('{"mood": "angry"}', '{"mood": "calm"}')
    labels = {"mood": ["calm", "worried"]}
    await make(MetadataAgent, prompt="judge", labels=labels).handle(given, context(engine))
    assert given["mood"] == "calm"
    assert "mood: calm, worried" in engine.asked[0].messages[-1].content
    config = check_config(MetadataAgent, {"prompt": "judge", "labels": labels}, "config")
    assert {"mood", "turns"} <= MetadataAgent.fields_of(config)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"labels": {"mood": ["a", "b"]}}, "prompt and labels go together"),
        ({"prompt": "judge"}, "prompt and labels go together"),
        ({"prompt": "judge", "labels": {"turns": ["a", "b"]}}, "`turns` is a field of its own"),
        ({"prompt": "judge", "labels": {"Mood": ["a", "b"]}}, "config.labels.Mood"),
        ({"prompt": "judge", "labels": {"mood": ["a"]}}, "config.labels.mood"),
    ],
)
def test_labels_that_cannot_work_are_refused(config: dict[str, Any], told: str) -> None:
    with pytest.raises(LoadError) as refused:
        check_config(MetadataAgent, config, "config")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Where is my parcel? I have been waiting for it and it is not here.", "en"),
        ("Wo ist mein Paket? Ich warte nicht gern, und das ist die dritte Woche.", "de"),
        ("Où est mon colis ? Je ne suis pas content, il est dans la rue.", "fr"),
        ("¿Dónde está el paquete? No puedo esperar más y no es para mí.", "es"),
        ("Dov'è il mio pacco? Non è qui e non so che cosa fare con la posta.", "it"),
        ("Onde está o meu pacote? Não é para você, é para o meu pai.", "pt"),
        ("荷物はどこですか", "ja"),
        ("Где моя посылка?", "ru"),
        ("order LL-12345", UNSURE),
        ("", UNSURE),
    ],
)
def test_a_language_is_guessed_or_left_open(text: str, code: str) -> None:
    assert guess_language(text) == code


# EchoAgent


async def test_an_echo_appends_text_of_the_given_length_and_says_when_it_is_done() -> None:
    agent = make(EchoAgent, chars=1000, spread=0.2, maxTurns=3)
    given = row()
    for turn in range(3):
        await agent.handle(given, context())
        assert (given["turns"], given["done"]) == (turn + 1, turn == 2)
    assert [m.role for m in given.messages] == ["user", "assistant", "user"]
    assert all(800 <= len(m.content) <= 1200 for m in given.messages)


async def test_lengths_of_echoes_spread_evenly_and_repeat() -> None:
    agent = make(EchoAgent, chars=1000, spread=0.2)

    async def lengths() -> list[int]:
        made = []
        for key in range(2000):
            given = row()
            await agent.handle(given, context(row_key=key))
            made.append(len(given.messages[0].content))
        return made

    once = await lengths()
    assert once == await lengths()
    assert 990 < sum(once) / len(once) < 1010
    assert min(once) < 805
    assert max(once) > 1195
    assert len(set(once)) > 300
