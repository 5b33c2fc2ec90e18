"""The real vLLM, in this process and as a server, with the tiny random model.

    e2e/vllm/setup pytest -m vllm e2e/vllm

The model talks nonsense, so what is held here is the engine around it: batching, seeds, guided
JSON, tools in the template, counts and names; and that the examples run to their end with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import perf_counter, time
from typing import Any

import jsonschema
import psutil
import pytest
import pytest_asyncio
from deltalake import DeltaTable

pytest.importorskip("vllm", reason="run by e2e/vllm/setup, which makes the environment")

from weft.cli.checks import check, read
from weft.cli.engines import Flags, put_in_place
from weft.engines import ChatRequest, Engine, EngineError, make_engine
from weft.engines.base import ROUTINE, ChatResult, EngineDead, Urgency
from weft.llm import LLM
from weft.row import ChatMessage, Row, ToolCall
from weft.testing import Rows
from weft_api.engine import Engine as EngineSettings
from weft_api.engine import OpenAIEngine, VllmEngine

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = 16_384
"""Tokens: the tiny vocabulary takes a support case with its tools to about 8,000."""
ARGS: dict[str, Any] = {
    "enforce_eager": True,
    "max_model_len": CONTEXT,
    "dtype": "float32",
    "max_num_seqs": 64,
    "served_model_name": "tiny",
}
VERDICT = {
    "type": "object",
    "properties": {
        "verdict": {"enum": ["accept", "revise", "reject"]},
        "score": {"type": "integer", "minimum": 1, "maximum": 9},
        "safe": {"type": "boolean"},
    },
    "required": ["verdict", "score", "safe"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "lookup_order",
        "description": "Look up an order",
        "parameters": {
            "type": "object",
            "properties": {"order_id": {"type": "string"}},
            "required": ["order_id"],
        },
    },
}


def ask(text: str = "Hello, how are you?", **more: Any) -> ChatRequest:
    more = {"max_tokens": 32, "seed": 1, "temperature": 1.0, **more}
    return ChatRequest(messages=[ChatMessage("user", text)], **more)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """vLLM's own server on loopback."""
    here = Path(__file__).resolve().parent
    server = subprocess.Popen(
        [sys.executable, str(here / "serve")], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:"), f"the server did not start: {url!r}"
    yield url
    server.send_signal(signal.SIGTERM)
    server.wait(60)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def in_process() -> AsyncIterator[Engine]:
    settings = EngineSettings(vllm=VllmEngine(model=os.environ["WEFT_TINY_MODEL"], args=ARGS))
    engine = make_engine(settings, seed=7, environ={})
    await engine.start()
    yield engine
    await engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def through_server(base_url: str) -> AsyncIterator[Engine]:
    settings = EngineSettings(openai=OpenAIEngine(base_url=base_url, model="tiny"))
    engine = make_engine(settings, seed=7, environ={})
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture(params=["in_process", "through_server"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.getfixturevalue(request.param)


async def test_32_chats_at_once_take_far_less_than_32_times_one(engine: Engine) -> None:
    await engine.chat(ask(max_tokens=64))
    began = perf_counter()
    for number in range(4):
        await engine.chat(ask(f"Chat {number}", max_tokens=64, seed=number))
    alone = (perf_counter() - began) / 4
    began = perf_counter()
    results = await asyncio.gather(
        *(engine.chat(ask(f"Chat {number}", max_tokens=64, seed=number)) for number in range(32))
    )
    together = perf_counter() - began
    print(f"\n  one: {alone:.3f} s; 32 together: {together:.3f} s")
    assert len({result.message.content for result in results}) > 16
    assert together < 32 * alone / 3


async def test_the_same_seed_says_the_same_and_another_does_not(engine: Engine) -> None:
    first, again, other = await asyncio.gather(
        engine.chat(ask(seed=5)), engine.chat(ask(seed=5)), engine.chat(ask(seed=6))
    )
    assert first.message.content == again.message.content
    assert first.message.content != other.message.content


async def test_a_schema_is_kept_even_by_a_model_that_talks_nonsense(engine: Engine) -> None:
    results = await asyncio.gather(
        *(engine.chat(ask(schema=VERDICT, seed=number, max_tokens=200)) for number in range(8))
    )
    for result in results:
        jsonschema.validate(json.loads(result.message.content), VERDICT)


async def test_structured_gives_the_value_at_the_first_try(engine: Engine) -> None:
    llm = LLM(engine, seed=3, prompt="judge@1")
    value = await llm.structured("Judge it.", VERDICT, max_tokens=200)
    assert value["verdict"] in ("accept", "revise", "reject")
    [call] = llm.calls
    assert call.model == engine.model
    assert call.prompt_tokens > 0
    assert call.completion_tokens > 0


async def test_greedy_decoding_that_loops_on_white_space_comes_to_an_end(engine: Engine) -> None:
    """The grammar allows white space anywhere, and the model takes it when it is most likely."""
    llm = LLM(engine, seed=3)
    values = [await llm.structured(f"Judge {n}.", VERDICT, temperature=0.0) for n in range(4)]
    for value in values:
        jsonschema.validate(value, VERDICT)


async def test_the_model_is_named_and_tokens_are_counted(engine: Engine) -> None:
    short = await engine.chat(ask("Hi", max_tokens=5, seed=2))
    long = await engine.chat(ask("Hi there, " * 50, max_tokens=5, seed=2))
    assert short.model == engine.model == "tiny"
    assert short.completion_tokens <= 5
    assert long.prompt_tokens > short.prompt_tokens + 100
    assert short.finish_reason in ("length", "stop")


async def test_tools_and_their_results_go_into_the_prompt(engine: Engine) -> None:
    plain = await engine.chat(ask("Where is A-1042?"))
    offered = await engine.chat(ask("Where is A-1042?", tools=[TOOL]))
    assert offered.prompt_tokens > plain.prompt_tokens + 50
    history = [
        ChatMessage("user", "Where is A-1042?"),
        ChatMessage(
            "assistant", tool_calls=[ToolCall("c1", "lookup_order", '{"order_id": "A-1042"}')]
        ),
        ChatMessage("tool", '{"status": "shipped"}', tool_call_id="c1"),
    ]
    answered = await engine.chat(ChatRequest(messages=history, tools=[TOOL], max_tokens=8, seed=1))
    assert answered.prompt_tokens > offered.prompt_tokens


async def test_a_prompt_that_is_too_long_is_refused_in_one_line(engine: Engine) -> None:
    with pytest.raises(EngineError) as refused:
        await engine.chat(ask("word " * 2 * CONTEXT))
    assert str(CONTEXT) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not refused.value.transient


async def test_many_long_prompts_with_seeds_at_once_do_not_end_the_engine(engine: Engine) -> None:
    """Together they are more than one step of vLLM's takes, so that it cuts a prompt in two."""
    answers = await asyncio.gather(
        *(engine.chat(ask(f"{n} " + "order " * 250, seed=n, max_tokens=4)) for n in range(48))
    )
    assert all(answer.completion_tokens for answer in answers)


async def test_calls_end_when_vllm_is_killed() -> None:
    settings = EngineSettings(vllm=VllmEngine(model=os.environ["WEFT_TINY_MODEL"], args=ARGS))
    engine = make_engine(settings, seed=7, environ={})
    before = set(psutil.Process().children(recursive=True))
    await engine.start()
    calls = [
        asyncio.create_task(engine.chat(ask(f"Tell me {n} things.", max_tokens=1500, seed=n)))
        for n in range(24)
    ]
    await asyncio.sleep(1)
    for process in set(psutil.Process().children(recursive=True)) - before:
        process.kill()
    calls += [asyncio.create_task(engine.chat(ask())) for _ in range(4)]
    outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 60)
    # Some may have been answered within the second.
    assert {type(outcome) for outcome in outcomes} - {ChatResult} == {EngineDead}
    assert {type(outcome) for outcome in outcomes[-4:]} == {EngineDead}
    await engine.close()


async def test_a_call_for_an_urgent_row_goes_before_those_that_wait() -> None:
    """Two at a time: without an order, the last two of 26 calls would end last."""
    two = VllmEngine(model=os.environ["WEFT_TINY_MODEL"], args={**ARGS, "max_num_seqs": 2})
    engine = make_engine(EngineSettings(vllm=two), seed=7, environ={})
    await engine.start()
    ended: list[str] = []
    first = asyncio.Event()

    async def call(name: str, urgency: Urgency = ROUTINE) -> None:
        await engine.chat(ask(name, max_tokens=64, seed=len(name), urgency=urgency))
        ended.append(name)
        first.set()

    calls = [asyncio.create_task(call(f"{n}")) for n in range(24)]
    try:
        async with asyncio.timeout(120):
            await first.wait()
            calls.append(asyncio.create_task(call("due", Urgency.of(0, time() + 60))))
            calls.append(asyncio.create_task(call("urgent", Urgency.of(5, 0.0))))
            await asyncio.gather(*calls)
    finally:
        await engine.close()
    assert {"due", "urgent"} <= set(ended[:8]), ended


async def test_a_cancelled_call_leaves_the_engine_working(engine: Engine) -> None:
    call = asyncio.create_task(engine.chat(ask(max_tokens=1500)))
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await engine.chat(ask(max_tokens=4))).completion_tokens <= 4


async def test_both_ways_say_the_same(in_process: Engine, through_server: Engine) -> None:
    here, there = await asyncio.gather(
        in_process.chat(ask(temperature=0.0)), through_server.chat(ask(temperature=0.0))
    )
    assert here.message.content == there.message.content
    assert here.prompt_tokens == there.prompt_tokens


async def test_an_unknown_model_is_told_with_those_that_exist(base_url: str) -> None:
    settings = EngineSettings(openai=OpenAIEngine(base_url=base_url, model="tinny"))
    engine = make_engine(settings, seed=0, environ={})
    with pytest.raises(EngineError, match=r"no model 'tinny'; it has tiny"):
        await engine.start()
    await engine.close()


class Shared(Engine):
    """An engine that several pools use, and none of them starts or ends."""

    def __init__(self, engine: Engine) -> None:
        self.model = engine.model
        self._engine = engine

    async def chat(self, request: ChatRequest) -> ChatResult:
        return await self._engine.chat(request)


async def test_support_dialogues_come_to_a_judgement(engine: Engine) -> None:
    """`examples/support` whole; the engine is one for all four pools, to load vLLM once."""
    flags = Flags("vllm", model=os.environ["WEFT_TINY_MODEL"])
    plan = check(put_in_place(read([str(ROOT / "examples/support")]), flags)).plan
    cases = (ROOT / "examples/support/scenarios.jsonl").read_text().splitlines()
    shared = Shared(engine)
    async with Rows(plan, engines={pool.name: shared for pool in plan.pools}) as rows:
        walks = await asyncio.gather(
            *(
                rows.run(Row(case["id"], case), number=number)
                for number, case in enumerate(map(json.loads, cases[:6]))
            )
        )
    assert {walk.end for walk in walks} <= {"$accept", "$reject"}, [walk.reason for walk in walks]
    calls = [call for walk in walks for segment in walk.segments for call in segment.models]
    assert {call.model for call in calls} == {"tiny"}
    for walk in walks:
        assert walk.row["verdict"] in ("accept", "reject")
        if walk.end == "$accept":
            assert walk.row["outcome"] in ("solved", "handed over", "open")
            assert 7 <= walk.row["score"] <= 10


QUESTIONS = [
    ("A box holds 12 lamps. How many lamps do 7 boxes hold?", "12 * 7 = 84\n#### 84"),
    ("Ana had 30 euros and spent a third. How much is left?", "30 / 3 = 10\n30 - 10 = 20\n#### 20"),
    ("A train goes 60 km in an hour. How far in 5 hours?", "60 * 5 = 300\n#### 300"),
]
"""In the form of GSM8K, whose own are not in the repository."""


def weft(*arguments: str | Path) -> list[dict[str, Any]]:
    """The statuses that a `weft run --json` prints."""
    command = ["weft", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("kind", ["openai", "vllm"])
async def test_a_whole_run_ends_with_every_row_judged_and_the_model_named(
    kind: str, base_url: str, tmp_path: Path
) -> None:
    """`weft run examples/gsm8k` on Ray, as the README has it."""
    for name in ("pipeline.yaml", "pools.yaml"):
        (tmp_path / name).write_text((ROOT / "examples/gsm8k" / name).read_text())
    (tmp_path / "data.jsonl").write_text(
        "".join(
            json.dumps({"question": question, "answer": answer}) + "\n"
            for question, answer in QUESTIONS
        )
    )
    flags = ["--base-url", base_url, "--model", "tiny"]
    if kind == "vllm":
        flags = ["--model", os.environ["WEFT_TINY_MODEL"]]
        compact = {"backend": "xgrammar", "disable_any_whitespace": True}
        for name, value in (ARGS | {"structured_outputs_config": compact}).items():
            flags += ["--vllm-arg", f"{name}={json.dumps(value)}"]
    final = await asyncio.to_thread(weft, "run", tmp_path, "--engine", kind, *flags)
    rows = final[-1]["rows"]
    assert rows["dead"] == 0
    assert rows["accepted"] + rows["rejected"] == len(QUESTIONS)
    made = DeltaTable(tmp_path / "out").to_pyarrow_table().to_pylist()
    assert len(made) == len(QUESTIONS)
    named = {
        call["model"] for row in made for hop in row["provenance"] for call in hop["models"] or []
    }
    assert named == {"tiny"}


@pytest.mark.parametrize(
    ("model", "args", "told"),
    [
        ("/nowhere/at-all", {}, "engine.vllm.model: there is no folder /nowhere/at-all"),
        ("nobody/has-this", {}, "engine.vllm: vLLM refused model 'nobody/has-this'"),
        (None, {"max_model_len": 10**9}, "engine.vllm: vLLM did not start"),
        (None, {"dtype": "float7"}, "engine.vllm"),
        (None, {"max_model_length": 5}, "no such argument; did you mean max_model_len?"),
        (None, {"model": "x"}, "give the model in engine.vllm.model"),
    ],
)
async def test_a_wrong_model_or_argument_is_one_clear_line(
    model: str | None, args: dict[str, Any], told: str
) -> None:
    settings = VllmEngine(model=model or os.environ["WEFT_TINY_MODEL"], args=args)
    engine = make_engine(EngineSettings(vllm=settings), seed=0, environ={})
    with pytest.raises(EngineError) as refused:
        await engine.start()
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
