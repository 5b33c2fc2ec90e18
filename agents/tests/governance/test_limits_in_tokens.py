"""Lengths by a real tokenizer: the tiny model's own, a byte-level BPE that is made on the spot."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from rules_and_plans import plan_of

from weft import Agent, Context, Row
from weft.governance.limits import counter, estimate
from weft.row import ChatMessage
from weft.testing import Rows, Scripted
from weft_api.engine import Engine, VllmEngine
from weft_api.plan import Plan

ROOT = Path(__file__).parents[3]
TEXT = "Thank you for reaching out; I have a question about my order. Žluťoučký kůň, 12:30."


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tokenizer; its folder is `name_or_path`."""
    transformers = pytest.importorskip("transformers")
    maker = importlib.util.spec_from_file_location("tiny", ROOT / "e2e/vllm/tiny_model.py")
    assert maker is not None
    assert maker.loader is not None
    module = importlib.util.module_from_spec(maker)
    maker.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("tiny")
    module.make_tokenizer(folder)
    # Without a model's config the class has to be told.
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return transformers.AutoTokenizer.from_pretrained(str(folder))


class Repeater(Agent):
    """Says the row's `text` in two messages."""

    async def handle(self, row: Row, ctx: Context) -> None:
        row.messages += [ChatMessage("user", row["text"]), ChatMessage("assistant", row["text"])]


def limited(limits: dict[str, Any], engine: Engine | None) -> Plan:
    rule = {"name": "size", "action": "reject", "limits": limits}
    plan = plan_of(rule, agent=f"{__name__}:Repeater")
    pools = [pool.model_copy(update={"engine": engine}) for pool in plan.pools]
    return plan.model_copy(update={"pools": pools})


async def end_of(plan: Plan, text: str) -> tuple[str, str]:
    async with Rows(plan, engines={"say": Scripted()}) as rows:
        walked = await rows.run(Row("r1", {"text": text}))
    return walked.end, walked.reason


def test_its_counts_are_the_tokenizers_and_not_those_of_the_estimate(tokenizer: Any) -> None:
    count = counter(tokenizer.name_or_path)
    for text in (TEXT, "order " * 50, "Ž", "¡!", ""):
        assert count(text) == len(tokenizer.encode(text, add_special_tokens=False))
        assert count(text) == count(text)
    assert estimate(TEXT) < count(TEXT) < len(TEXT.encode())
    assert count("Thank you for reaching out") < estimate("Ž" * 26)


@pytest.mark.parametrize("by", ["the pool's model", "its args", "the rule"])
@pytest.mark.parametrize(("limit", "messages"), [("perMessage", 1), ("perRow", 2), ("perStep", 2)])
async def test_a_limit_holds_exactly_at_its_boundary(
    tokenizer: Any, by: str, limit: str, messages: int
) -> None:
    folder = tokenizer.name_or_path
    engine = {
        "the pool's model": Engine(vllm=VllmEngine(model=folder)),
        "its args": Engine(vllm=VllmEngine(model="/no/model", args={"tokenizer": folder})),
        "the rule": None,
    }[by]
    named = {"tokenizer": folder} if by == "the rule" else {}
    tokens = messages * len(tokenizer.encode(TEXT, add_special_tokens=False))
    assert tokens > messages * estimate(TEXT)
    assert await end_of(limited({limit: tokens, **named}, engine), TEXT) == ("$accept", "")
    end, reason = await end_of(limited({limit: tokens - 1, **named}, engine), TEXT)
    assert (end, reason) == ("$reject", f"governance rule size: {limit} {tokens}")
