"""The context of a hop: seeds, records, log."""

from __future__ import annotations

import logging
import timeit
from typing import Any

import pytest

from weft import ChatMessage, Context, EngineError, PromptError, Row
from weft.context import Setting
from weft.engines import NoEngine
from weft.prompts.render import Prompts
from weft.testing import Scripted
from weft_api.plan import Prompt

PROMPTS = Prompts([Prompt(name="draft", text="Help {{ row.who }} {{ how }}", version="a" * 12)])


def context(**changed: Any) -> Context:
    row: dict[str, Any] = {"row_key": 5, "row_id": "r5", "hop": 2, "attempt": 1}
    setting: dict[str, Any] = {
        "step": "drafter",
        "pool": "drafter-gpu",
        "seed": 7,
        "engine": Scripted("one", "two", "three"),
        "prompts": PROMPTS,
        "tools": {},
        "logger": logging.getLogger("weft.test"),
    }
    for name, value in changed.items():
        (row if name in row else setting)[name] = value
    return Context(Setting(**setting), **row)


def test_the_seed_is_that_of_plan_row_and_hop_and_of_nothing_else() -> None:
    seed = context().seed
    assert seed == context(attempt=9, pool="drafter-cpu", row_key=6).seed
    others = [context(seed=8).seed, context(row_id="r6").seed, context(hop=3).seed]
    assert len({seed, *others}) == 4
    assert 0 <= seed < 2**63
    assert context(row_id="\ud800").seed >= 0


def test_seeds_do_not_run_into_each_other() -> None:
    assert context(seed=1, hop=23, row_id="x").seed != context(seed=12, hop=3, row_id="x").seed


async def test_a_prompt_is_the_system_message_before_the_dialogue_and_names_the_call() -> None:
    ctx = context()
    row = Row("r5", {"who": "Ann"}, messages=[ChatMessage("user", "Hi")])
    asked = ctx.prompt("draft", row, how="now")
    assert [(m.role, m.content) for m in asked] == [("system", "Help Ann now"), ("user", "Hi")]
    row.messages.append(await ctx.llm.chat(asked))
    await ctx.llm.chat("an aside")
    ctx.locate(row)
    assert [(call.prompt, call.message) for call in ctx.model_calls] == [
        ("draft@aaaaaaaaaaaa", 1),
        ("draft@aaaaaaaaaaaa", -1),
    ]
    assert len({call.seed for call in ctx.model_calls}) == 2


async def test_calls_of_the_same_hop_ask_with_the_same_seeds_when_it_runs_again() -> None:
    first, again = context(), context(attempt=2)
    for ctx in (first, again):
        await ctx.llm.chat("a")
        await ctx.llm.chat("b")
    assert [c.seed for c in first.model_calls] == [c.seed for c in again.model_calls]


def test_an_unknown_prompt_raises_one_clear_line() -> None:
    with pytest.raises(PromptError, match='no prompt `drft`; did you mean "draft"'):
        context().prompt("drft", Row("r", {}))


async def test_a_pool_without_an_engine_says_so_when_a_model_is_asked() -> None:
    with pytest.raises(EngineError, match="no engine"):
        await context(engine=NoEngine()).llm.chat("x")


def test_notes_are_kept_and_bounded() -> None:
    ctx = context()
    for n in range(64):
        ctx.record(f"n{n}", n)
    ctx.record("n0", "again")
    assert ctx.notes["n0"] == "again"
    with pytest.raises(ValueError, match="more than 64 notes"):
        ctx.record("one more", 1)


def test_log_lines_name_step_row_and_hop(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="weft.test"):
        context().log.info("found %d", 3)
    assert caplog.messages == ["[drafter row r5 hop 2] found 3"]


def test_a_context_that_is_not_used_costs_little() -> None:
    setting = Setting("s", "p", 1, Scripted(), PROMPTS, {}, logging.getLogger("x"))

    def make() -> None:
        ctx = Context(setting, row_key=1, row_id="r", hop=0, attempt=1)
        ctx.locate(row)
        assert not ctx.model_calls
        assert not ctx.tool_traces

    row = Row("r", {})
    assert min(timeit.repeat(make, number=1000, repeat=5)) / 1000 < 10e-6
