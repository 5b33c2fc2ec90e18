"""What an agent's gate does with what a hop has written."""

from __future__ import annotations

import msgspec
import pytest
from rules_and_plans import CALLS, pii, plan_of

from weft.loading import LoadError
from weft.runtime.hops import Hops
from weft.segment import Verdict
from weft.testing import run_row

SECRET = "jane.doe@example.com"


async def test_personal_data_is_redacted_wherever_the_hop_has_written_it() -> None:
    walked = await run_row(plan_of(pii("EMAIL_ADDRESS")), {"say": f"write to {SECRET} now"})
    assert walked.end == "$accept"
    (segment,) = walked.segments
    left = msgspec.json.encode([walked.row.messages, walked.row.data, segment]).decode()
    assert SECRET not in left
    assert walked.row.messages[0].content == "write to <EMAIL_ADDRESS> now"
    assert walked.row.messages[1].tool_calls[0].arguments == (
        '{"for": "write to <EMAIL_ADDRESS> now"}'
    )
    assert segment.verdicts == [Verdict("personal", "redact", {"EMAIL_ADDRESS": 1})]


async def test_a_row_that_is_rejected_leaves_as_it_came() -> None:
    plan = plan_of(pii("EMAIL_ADDRESS", action="reject"))
    walked = await run_row(plan, {"say": f"write to {SECRET}"})
    assert walked.end == "$reject"
    assert walked.reason == "governance rule personal: EMAIL_ADDRESS 1"
    assert (walked.row.messages, walked.row.data) == ([], {})
    assert SECRET not in msgspec.json.encode(walked.segments).decode()


async def test_a_tag_lets_the_row_pass_and_the_flow_may_ask_for_it() -> None:
    flow = {
        "entry": "say",
        "steps": [
            {
                "name": "say",
                "next": [
                    {"to": "$reject", "when": "has(row.governance)"},
                    {"to": "$accept"},
                ],
            }
        ],
    }
    plan = plan_of(pii("EMAIL_ADDRESS", action="tag"), flow=flow)
    walked = await run_row(plan, {"say": f"write to {SECRET}"})
    assert (walked.end, walked.row["governance"]) == ("$reject", ["personal"])
    assert (await run_row(plan, {"say": "nobody"})).end == "$accept"


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("fails", "governance rule own: raised KeyError"),
        ("hangs", "governance rule own: gave no verdict within 0.2 s"),
    ],
)
async def test_a_rule_that_cannot_be_evaluated_makes_a_dead_letter(function: str, why: str) -> None:
    blocked = {"python": f"rules_and_plans:{function}", "timeout": "200ms"}
    plan = plan_of({"name": "own", "action": "tag", "blocked": blocked})
    walked = await run_row(plan, {"say": "hello"})
    assert (walked.end, walked.reason) == ("$dead", why)
    assert walked.row.messages == []
    assert walked.segments[0].verdicts == [Verdict("own", "failed", {})]


async def test_a_function_of_ones_own_gives_the_kind_of_its_verdict() -> None:
    blocked = {"python": "rules_and_plans:shouts"}
    plan = plan_of({"name": "own", "action": "reject", "blocked": blocked})
    walked = await run_row(plan, {"say": "GO AWAY"})
    assert walked.reason.startswith("governance rule own: shouting ")
    assert (await run_row(plan, {"say": "Come in"})).end == "$accept"


async def test_a_failing_agents_error_does_not_carry_personal_data_to_the_dead_letter() -> None:
    plan = plan_of(
        pii("EMAIL_ADDRESS"), agent="rules_and_plans:Failing", delivery={"maxAttempts": 1}
    )
    walked = await run_row(plan, {"say": SECRET})
    assert walked.end == "$dead"
    assert SECRET not in walked.reason
    assert "ValueError" in walked.reason
    assert "withheld" in walked.reason


async def test_a_rule_of_the_source_alone_does_not_look_at_what_agents_write() -> None:
    walked = await run_row(plan_of(pii("EMAIL_ADDRESS", steps=["$source"])), {"say": SECRET})
    assert walked.row.messages[0].content == SECRET


@pytest.mark.parametrize("action", ["tag", "reject"])
async def test_a_tool_that_is_not_allowed_is_never_called(action: str) -> None:
    CALLS.clear()
    names = ("good", "bad")
    tools = [
        {"name": name, "description": "x", "python": "rules_and_plans:remember"} for name in names
    ]
    only = {"name": "tools", "action": action, "tools": {"names": ["good"]}}
    plan = plan_of(only, tools=tools, agent="rules_and_plans:Caller")
    walked = await run_row(plan, {"tool": "bad"})
    assert CALLS == []
    assert walked.segments[0].verdicts == [Verdict("tools", action, {"asked": 1, "refused": 1})]
    if action == "tag":
        assert "may not be used here" in walked.row.messages[-1].content
    else:
        assert walked.end == "$reject"
    assert (await run_row(plan, {"tool": "good"})).end == "$accept"
    assert CALLS == ["called"]


async def test_lengths_are_limited_by_message_by_row_and_by_step() -> None:
    text = "word " * 100
    for limit, broken in (
        ({"perMessage": 120}, "perMessage"),
        ({"perRow": 250}, "perRow"),
        ({"perStep": 250}, "perStep"),
    ):
        plan = plan_of({"name": "size", "action": "reject", "limits": limit})
        walked = await run_row(plan, {"say": text})
        assert walked.end == "$reject"
        assert walked.reason.startswith(f"governance rule size: {broken} ")
        assert (await run_row(plan, {"say": "short"})).end == "$accept"


def test_a_rule_that_cannot_be_made_refuses_the_plan_with_its_name() -> None:
    for kind, told in (
        ({"blocked": {"patterns": ["(?=a)"]}}, "patterns[0]: not a regular expression of RE2"),
        ({"blocked": {"patterns": ["a*"]}}, "matches the empty text"),
        ({"blocked": {"python": "rules_and_plans:nothing"}}, "has no `nothing`"),
        ({"pii": {"entities": ["PERSON"], "model": "en_core_web_xx"}}, "no spaCy pipeline"),
    ):
        with pytest.raises(LoadError) as caught:
            Hops.check(plan_of({"name": "mine", "action": "reject", **kind}))
        assert str(caught.value).startswith("governance[mine]: ")
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)
