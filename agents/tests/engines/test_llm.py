"""`ctx.llm`: calls on record, seeds that repeat, and structured output that repairs itself."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from weft.engines.base import ChatRequest, ChatResult, Engine, EngineError
from weft.llm import LLM, StructuredError, derived_seed
from weft.row import ChatMessage

SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "integer", "maximum": 10}, "verdict": {"type": "string"}},
    "required": ["score", "verdict"],
}


class Judgement(BaseModel):
    verdict: Literal["accept", "reject"]
    score: int = Field(le=10)


class Scripted(Engine):
    """Says what the test tells it to; keeps what it was asked."""

    model = "scripted"

    def __init__(self, *replies: str, finish: str = "stop") -> None:
        self.replies = list(replies)
        self.finish = finish
        self.asked: list[ChatRequest] = []

    async def chat(self, request: ChatRequest) -> ChatResult:
        self.asked.append(request)
        return ChatResult(
            message=ChatMessage("assistant", self.replies.pop(0)),
            model="scripted-2026",
            prompt_tokens=11,
            completion_tokens=7,
            finish_reason=self.finish,
        )


async def test_a_call_is_put_on_record_with_all_that_made_it() -> None:
    llm = LLM(Scripted("Hello"), seed=5, prompt="draft@abc")
    reply = await llm.chat("Hi", temperature=0.3, max_tokens=9, stop=["."])
    assert reply == ChatMessage("assistant", "Hello")
    [call] = llm.calls
    assert (call.model, call.prompt, call.prompt_tokens, call.completion_tokens) == (
        "scripted-2026",
        "draft@abc",
        11,
        7,
    )
    assert call.sampling == {"temperature": 0.3, "max_tokens": 9, "stop": ["."]}
    assert call.seed == derived_seed(5, 0)
    assert call.seconds >= 0
    assert call.message == -1


async def test_seeds_differ_by_call_and_repeat_by_hop() -> None:
    def seeds_of(engine: Scripted) -> list[int | None]:
        return [request.seed for request in engine.asked]

    first, again = Scripted("a", "b"), Scripted("a", "b")
    for engine in (first, again):
        llm = LLM(engine, seed=9)
        await llm.chat("x")
        await llm.chat("x")
    assert seeds_of(first) == seeds_of(again)
    assert len(set(seeds_of(first))) == 2


def test_derived_seeds_fit_31_bits_and_spread() -> None:
    seeds = {derived_seed(hop, number) for hop in (0, -1, 2**63) for number in range(300)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**31 for seed in seeds)


async def test_the_callers_messages_are_not_changed() -> None:
    messages = [ChatMessage("user", "x")]
    await LLM(Scripted("no", '{"score": 1, "verdict": "a"}'), seed=1).structured(messages, SCHEMA)
    assert messages == [ChatMessage("user", "x")]


@pytest.mark.parametrize(
    "reply",
    [
        '{"score": 7, "verdict": "accept"}',
        '  {"score": 7, "verdict": "accept"}\n',
        'Sure!\n```json\n{"score": 7, "verdict": "accept"}\n```\nAnything else?',
        '```\n{"score": 7, "verdict": "accept"}\n```',
        'My answer is {"score": 7, "verdict": "accept"}, as asked.',
    ],
)
async def test_json_is_found_however_the_model_wraps_it(reply: str) -> None:
    value = await LLM(Scripted(reply), seed=1).structured("Judge", SCHEMA)
    assert value == {"score": 7, "verdict": "accept"}


async def test_a_pydantic_model_comes_back_as_its_instance() -> None:
    engine = Scripted('{"score": 7, "verdict": "accept"}')
    value = await LLM(engine, seed=1).structured("Judge", Judgement)
    assert value == Judgement(verdict="accept", score=7)
    assert engine.asked[0].schema == Judgement.model_json_schema()


async def test_a_faulty_reply_is_sent_back_with_what_is_wrong() -> None:
    engine = Scripted('{"score": 11}', '{"score": 9, "verdict": "ok"}')
    llm = LLM(engine, seed=1)
    assert await llm.structured("Judge", SCHEMA) == {"score": 9, "verdict": "ok"}
    assert len(llm.calls) == 2
    asked, reply, complaint = engine.asked[1].messages
    assert asked.content == "Judge"
    assert reply == ChatMessage("assistant", '{"score": 11}')
    assert "11 is greater than the maximum of 10" in complaint.content
    assert "'verdict' is a required property" in complaint.content
    assert engine.asked[0].seed != engine.asked[1].seed


async def test_a_seed_given_by_the_author_is_not_used_for_repairs() -> None:
    engine = Scripted("no", '{"score": 9, "verdict": "ok"}')
    await LLM(engine, seed=1).structured("Judge", SCHEMA, seed=42)
    assert engine.asked[0].seed == 42
    assert engine.asked[1].seed != 42


@pytest.mark.parametrize("repairs", [0, 1, 3])
async def test_after_the_last_repair_one_line_says_what_was_wrong(repairs: int) -> None:
    engine = Scripted(*["not json"] * 9)
    llm = LLM(engine, seed=1)
    with pytest.raises(StructuredError) as failed:
        await llm.structured("Judge", SCHEMA, repairs=repairs)
    assert isinstance(failed.value, EngineError)
    assert f"in {repairs + 1} tries" in str(failed.value)
    assert "not JSON" in str(failed.value)
    assert "\n" not in str(failed.value)
    assert len(llm.calls) == repairs + 1


async def test_a_reply_that_was_cut_off_is_told_so() -> None:
    engine = Scripted('{"score": 1, "ver', '{"score": 1, "ver', finish="length")
    with pytest.raises(StructuredError, match=r"cut off at the token limit.*Raise max_tokens"):
        await LLM(engine, seed=1).structured("Judge", SCHEMA, repairs=1)
    assert "shorter" in engine.asked[1].messages[-1].content


async def test_bare_line_breaks_and_control_characters_in_a_string_are_taken() -> None:
    engine = Scripted('{"score": 9, "verdict": "one\ntwo\t\x1b"}')
    assert await LLM(engine, seed=1).structured("x", SCHEMA) == {
        "score": 9,
        "verdict": "one\ntwo\t\x1b",
    }


BOUNDED = {
    "type": "object",
    "properties": {"word": {"type": "string", "maxLength": 100}},
    "required": ["word"],
    "additionalProperties": False,
}


async def test_a_bounded_schema_sets_a_limit_that_cannot_cut_a_reply_that_fits() -> None:
    longest = json.dumps({"word": "w" * 100})
    engine = Scripted(longest)
    await LLM(engine, seed=1).structured("x", BOUNDED)
    assert len(longest) <= (engine.asked[0].max_tokens or 0) < 2 * len(longest)


@pytest.mark.parametrize("schema", [SCHEMA, {"type": "object"}])
async def test_without_a_bound_there_is_no_limit(schema: dict[str, Any]) -> None:
    engine = Scripted('{"score": 9, "verdict": "ok"}')
    await LLM(engine, seed=1).structured("x", schema)
    assert engine.asked[0].max_tokens is None


async def test_tokens_that_went_into_thinking_are_granted_anew_and_the_question_stays() -> None:
    engine = Scripted("", "", finish="length")
    with pytest.raises(StructuredError, match="Raise max_tokens"):
        await LLM(engine, seed=1).structured("x", BOUNDED, repairs=1)
    first, second = engine.asked
    assert second.max_tokens == 4 * (first.max_tokens or 0)
    assert second.messages == first.messages


async def test_a_reply_that_runs_on_is_not_given_more_room() -> None:
    engine = Scripted('{"word":' + " " * 200, '{"word": "short"}', finish="length")
    value = await LLM(engine, seed=1).structured("x", BOUNDED, temperature=0.0)
    assert value == {"word": "short"}
    first, second = engine.asked
    assert second.max_tokens == first.max_tokens
    assert (first.temperature, second.temperature) == (0.0, 0.8)
    assert [message.content for message in second.messages[:2]] == ["x", '{"word":']
    assert "shorter" in second.messages[-1].content


async def test_the_authors_own_limit_stays_as_it_is() -> None:
    engine = Scripted("", '{"word": ""}', finish="length")
    await LLM(engine, seed=1).structured("x", BOUNDED, max_tokens=7)
    assert [asked.max_tokens for asked in engine.asked] == [7, 7]


async def test_faults_that_are_told_are_bounded() -> None:
    wide = {"type": "object", "required": [f"field_{number}" for number in range(100)]}
    engine = Scripted("{}", json.dumps({f"field_{number}": 1 for number in range(100)}))
    await LLM(engine, seed=1).structured("x", wide)
    assert "and 95 more" in engine.asked[1].messages[-1].content
    assert len(engine.asked[1].messages[-1].content) < 600


async def test_a_schema_that_is_none_is_refused_before_any_call() -> None:
    engine = Scripted()
    with pytest.raises(ValueError, match="not a JSON schema"):
        await LLM(engine, seed=1).structured("x", {"type": "strin"})
    with pytest.raises(ValueError, match="repairs: -1 is negative"):
        await LLM(engine, seed=1).structured("x", SCHEMA, repairs=-1)
    assert not engine.asked


@pytest.mark.parametrize("reply", ["[" * 100_000, "{" * 5000, '{"a": ' * 3000, "\ud83d", "", "NaN"])
async def test_hostile_replies_are_faults_and_no_crash(reply: str) -> None:
    with pytest.raises(StructuredError):
        await LLM(Scripted(reply), seed=1).structured("x", SCHEMA, repairs=0)
