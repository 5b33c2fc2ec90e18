"""The simulator: repeatable, with an LLM's slots, times, tools and faults."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from collections import Counter
from typing import Any

import jsonschema
import pytest

from weft.engines.base import ChatRequest, EngineError
from weft.engines.simulator import Simulator
from weft.llm import LLM
from weft.row import ChatMessage, ToolCall
from weft_api.engine import Faults, Latency, SimulatorEngine, Tokens
from weft_api.scalars import Duration

SYSTEM = "You are a support agent of a web shop. Customer: Maria"
USER = "Hi, my coffee grinder from order A-1042 arrived with a broken lid. Can I get a new one?"
LOOKUP = {
    "type": "function",
    "function": {
        "name": "lookup_order",
        "description": "Look up the status of an order",
        "parameters": {
            "type": "object",
            "properties": {
                "order_id": {"type": "string", "pattern": r"^[A-Z]-\d{4}$"},
                "detail": {"enum": ["short", "full"]},
            },
            "required": ["order_id"],
        },
    },
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "forecast",
        "description": "Tomorrow's weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def simulator(*, latency: str = "0s", sigma: float = 0.0, seed: int = 1, **more: Any) -> Simulator:
    hang = more.pop("hang_seconds", 0.05)
    settings = SimulatorEngine(latency=Latency(median=Duration(latency), sigma=sigma), **more)
    return Simulator(settings, seed=seed, hang_seconds=hang)


def ask(seed: int = 0, *, messages: list[ChatMessage] | None = None, **more: Any) -> ChatRequest:
    said = messages or [ChatMessage("system", SYSTEM), ChatMessage("user", USER)]
    return ChatRequest(messages=said, seed=seed, **more)


async def test_the_same_seed_and_request_give_the_same_reply_in_another_engine() -> None:
    first = await simulator().chat(ask(tools=[LOOKUP]))
    again = await simulator(latency="1ms", sigma=0.3).chat(ask(tools=[LOOKUP]))
    assert first == again


async def test_another_seed_of_engine_or_request_gives_another_reply() -> None:
    texts = {
        (await simulator(seed=engine).chat(ask(request))).message.content
        for engine in (1, 2)
        for request in (1, 2)
    }
    assert len(texts) == 4


async def test_the_settings_own_seed_wins_over_the_pipelines() -> None:
    one = await simulator(seed=1).chat(ask())
    assert (
        await Simulator(
            SimulatorEngine(seed=1, latency=Latency(median=Duration("0s"), sigma=0.0)), seed=99
        ).chat(ask())
        == one
    )


def test_the_reply_is_the_same_in_another_process_whatever_its_hash_seed() -> None:
    code = (
        "import asyncio;from weft.engines.simulator import Simulator;"
        "from weft.engines.base import ChatRequest;from weft.row import ChatMessage as M;"
        "from weft_api.engine import *;from weft_api.scalars import Duration;"
        "e=Simulator(SimulatorEngine(latency=Latency(median=Duration('0s'))),seed=1);"
        "print(asyncio.run(e.chat(ChatRequest(messages=[M('user','My order A-1 and B-22 came"
        " late, broken and wet')],seed=3))).message.content)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


async def test_an_assistants_turn_picks_up_name_number_and_topic() -> None:
    texts = [(await simulator().chat(ask(seed))).message.content for seed in range(20)]
    assert any("Maria" in text for text in texts)
    assert any("A-1042" in text for text in texts)
    assert any("coffee grinder" in text for text in texts)


async def test_a_turn_after_a_tool_tells_what_the_tool_said() -> None:
    messages = [
        ChatMessage("user", USER),
        ChatMessage("assistant", tool_calls=[ToolCall("c", "lookup_order", "{}")]),
        ChatMessage("tool", '{"status": "delivered", "carrier": "UPS"}', tool_call_id="c"),
    ]
    text = (await simulator().chat(ask(messages=messages))).message.content
    assert "status delivered, carrier UPS" in text


async def test_asked_to_be_the_customer_it_speaks_as_one_and_calls_no_tool() -> None:
    messages = [ChatMessage("system", "You are the customer. Topic: a late parcel")]
    for seed in range(10):
        reply = (await simulator().chat(ask(seed, messages=messages, tools=[LOOKUP]))).message
        assert not reply.tool_calls
        assert "How can I help" not in reply.content
    assert "parcel" in reply.content


async def test_tool_calls_fit_their_schema_and_take_what_the_dialogue_gives() -> None:
    calls = [
        call
        for seed in range(200)
        for call in (
            await simulator(tool_call_rate=1.0).chat(ask(seed, tools=[WEATHER, LOOKUP]))
        ).message.tool_calls
    ]
    assert len(calls) == 200
    chosen = Counter(call.name for call in calls)
    assert chosen["lookup_order"] > 150, "the words of the dialogue are about an order"
    for call in calls:
        tool = LOOKUP if call.name == "lookup_order" else WEATHER
        arguments = json.loads(call.arguments)
        jsonschema.validate(arguments, tool["function"]["parameters"])
        if tool is LOOKUP:
            assert arguments["order_id"] == "A-1042"


async def test_rounds_of_tool_calls_end_by_themselves() -> None:
    engine, messages = simulator(tool_call_rate=1.0), [ChatMessage("user", USER)]
    for number in range(10):
        reply = (await engine.chat(ask(number, messages=messages, tools=[LOOKUP]))).message
        messages.append(reply)
        if not reply.tool_calls:
            break
        messages += [ChatMessage("tool", "{}", tool_call_id=call.id) for call in reply.tool_calls]
    assert number <= 3
    assert reply.content


async def test_a_rate_of_zero_calls_no_tools() -> None:
    engine = simulator(tool_call_rate=0.0)
    for seed in range(50):
        assert not (await engine.chat(ask(seed, tools=[LOOKUP]))).message.tool_calls


SCHEMAS: list[dict[str, Any]] = [
    {"type": "integer", "minimum": 3, "maximum": 3},
    {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    {"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 20},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 2, "uniqueItems": True},
    {"type": "array", "items": {"type": "string"}, "maxItems": 0},
    {"type": "string", "minLength": 80},
    {"type": "string", "maxLength": 5},
    {"type": "string", "pattern": r"^(EU|US)-[0-9]{3,5}[a-f]+\.?$"},
    {"type": "string", "pattern": r"^[^\d\s]{4}$"},
    {"type": "string", "format": "date-time"},
    {"type": ["null", "boolean"]},
    {"const": {"a": 1}},
    {"anyOf": [{"type": "null"}, {"type": "object", "required": ["x"]}]},
    {"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "integer"}}}]},
    {"type": "object", "minProperties": 3},
    {"type": "object", "additionalProperties": {"type": "integer"}, "required": ["n"]},
    {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["name"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    },
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:40])
async def test_a_value_conforms_to_its_schema(schema: dict[str, Any]) -> None:
    for seed in range(30):
        reply = await simulator().chat(ask(seed, schema=schema))
        jsonschema.validate(
            json.loads(reply.message.content),
            schema,
            format_checker=jsonschema.FormatChecker(),
        )


async def test_verdicts_spread_and_agree_with_scores() -> None:
    schema = {
        "type": "object",
        "properties": {
            "verdict": {"enum": ["accept", "revise", "reject"]},
            "score": {"type": "integer", "minimum": 1, "maximum": 10},
            "unsafe": {"type": "boolean"},
        },
        "required": ["verdict", "score", "unsafe"],
    }
    values = [
        json.loads((await simulator().chat(ask(seed, schema=schema))).message.content)
        for seed in range(1000)
    ]
    counted = Counter(value["verdict"] for value in values)
    assert counted["accept"] > counted["revise"] > counted["reject"] > 5
    mean = {
        verdict: statistics.mean(v["score"] for v in values if v["verdict"] == verdict)
        for verdict in counted
    }
    assert mean["accept"] > mean["revise"] > mean["reject"]
    assert not any(v["unsafe"] for v in values if v["verdict"] == "accept")


async def test_json_that_is_only_sketched_in_the_prompt_is_answered_with_json() -> None:
    prompt = 'Judge it. Reply with JSON: {"verdict": "pass|fail", "score": 7, "reasons": ["…"]}'
    reply = await simulator().chat(ask(messages=[ChatMessage("user", prompt)]))
    value = json.loads(reply.message.content)
    assert value["verdict"] in ("pass", "fail")
    assert isinstance(value["score"], int)
    assert isinstance(value["reasons"], list)


async def test_lengths_are_log_normal_with_the_asked_median() -> None:
    engine = simulator(tokens=Tokens(median=200, sigma=0.4))
    lengths = [(await engine.chat(ask(seed))).completion_tokens for seed in range(400)]
    assert 180 < statistics.median(lengths) < 240
    assert max(lengths) > 400


async def test_max_tokens_and_stop_cut_the_reply() -> None:
    engine = simulator(tokens=Tokens(median=200, sigma=0.0))
    cut = await engine.chat(ask(max_tokens=10))
    assert (cut.completion_tokens, cut.finish_reason) == (10, "length")
    assert "." not in (await engine.chat(ask(stop=["."]))).message.content


async def test_slots_bound_what_is_worked_on_and_their_busy_time_is_counted() -> None:
    engine = simulator(latency="20ms", slots=4)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(engine.chat(ask(seed)) for seed in range(12)))
    took = loop.time() - began
    assert took >= 0.058, "12 calls of 20 ms on 4 slots take 3 rounds"
    assert engine.busy_seconds == pytest.approx(4 * took, rel=0.15)


async def test_a_median_of_zero_never_sleeps() -> None:
    engine = simulator(slots=1)
    coroutine = engine.chat(ask())
    with pytest.raises(StopIteration):
        coroutine.send(None)


async def test_faults_come_at_their_rate_and_trying_again_helps() -> None:
    engine = simulator(faults=Faults(error_rate=0.2, rate_limit_rate=0.1))
    told: Counter[str] = Counter()
    transient = 0
    for seed in range(500):
        try:
            await engine.chat(ask(seed))
        except EngineError as error:
            transient += error.transient
            told[str(error).split("(")[0]] += 1
            for _ in range(20):
                try:
                    await engine.chat(ask(seed))
                    break
                except EngineError:
                    continue
            else:
                pytest.fail("trying again never helped")
    counts = sorted(told.values())
    assert transient == sum(counts)
    assert 25 < counts[0] < 80 < counts[1] < 140


async def test_malformed_json_comes_at_its_rate_and_the_repair_loop_gets_over_it() -> None:
    engine = simulator(faults=Faults(malformed_rate=0.3))
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    repaired = 0
    for seed in range(100):
        llm = LLM(engine, seed=seed)
        value = await llm.structured(USER, schema, repairs=20)
        assert isinstance(value["n"], int)
        repaired += len(llm.calls) > 1
    assert 15 < repaired < 45


async def test_a_hanging_call_ends_after_its_bound_and_can_be_cancelled() -> None:
    engine = simulator(faults=Faults(hang_rate=1.0), hang_seconds=0.01)
    with pytest.raises(EngineError, match=r"no answer in 0\.01 s"):
        await engine.chat(ask())
    slow = simulator(faults=Faults(hang_rate=1.0), hang_seconds=60, slots=1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow.chat(ask()), 0.02)
    assert slow._slots.held == 0
