"""Replies that are listed in the manifest, and quotes from a text in the instructions."""

from __future__ import annotations

from random import Random

from weft.engines.base import ChatRequest
from weft.engines.simulated_replies import from_text, listed
from weft.engines.simulator import Simulator
from weft.row import ChatMessage
from weft_api.engine import Reply, SimulatorEngine

REPLIES = [Reply(match="add", texts=["right", "wrong"]), Reply(match="Rules", texts=["rules"])]
TEXT = "The tower is 31 metres high. It has 148 steps in all. Nobody may climb it in a storm."


def asked(*texts: str) -> list[ChatMessage]:
    return [ChatMessage("system", texts[0]), *(ChatMessage("user", text) for text in texts[1:])]


def test_a_listed_reply_is_drawn_where_a_message_matches() -> None:
    drawn = {listed(asked("", "write add"), REPLIES, Random(n)) for n in range(20)}
    assert drawn == {"right", "wrong"}
    assert listed(asked("", "write add", "again, please"), REPLIES[:1], Random(0)) != ""
    assert listed(asked("Rules", "hello"), REPLIES, Random(0)) == "rules"
    assert listed(asked("", "hello"), REPLIES, Random(0)) == ""


def test_a_text_is_quoted_by_what_is_asked_and_asked_about() -> None:
    system = f"Answer from the text. <text>{TEXT}</text>"
    quoted = from_text(asked(system, "How many steps in all?"), 1.0, Random(1))
    assert quoted.startswith("It has 148 steps in all.")
    assert from_text(asked(system, "How many steps?"), 0.0, Random(1)) == ""
    question = from_text(asked(f"Write one question. <text>{TEXT}</text>"), 0.0, Random(1))
    assert question.endswith("?")
    assert from_text(asked("No text here", "?"), 1.0, Random(1)) == ""


async def test_the_simulator_gives_the_same_listed_reply_for_the_same_request() -> None:
    engine = Simulator(
        SimulatorEngine.model_validate(
            {"latency": {"median": "0ms"}, "replies": [{"match": "add", "texts": ["a", "b", "c"]}]}
        ),
        seed=1,
    )
    requests = [ChatRequest(messages=asked("", "add"), seed=n) for n in range(12)]
    once, again = [
        [(await engine.chat(request)).message.content for request in requests] for _ in range(2)
    ]
    assert once == again
    assert set(once) == {"a", "b", "c"}
