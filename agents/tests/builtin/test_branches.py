"""Divided rows in process: what each branch gets, and how the joins choose and gather."""

from __future__ import annotations

import json
from typing import Any

import pytest

from weft import Agent, ChatMessage, Context, Row
from weft.testing import Scripted, Walked, run_row
from weft_api.parse import parse_pipeline, parse_pool
from weft_api.plan import Plan, compile_plan

HEAD = {"apiVersion": "weft.dev/v1alpha1"}


class Solver(Agent):
    """Gives the answer that the source holds for its branch; leaves, or fails, where told to."""

    async def handle(self, row: Row, ctx: Context) -> str | None:
        answer = row["answers"][ctx.branch - 1]
        if answer == "fail":
            raise ValueError("no idea")
        row.messages.append(ChatMessage("assistant", answer))
        row["mark"], row["seed"], row["number"] = f"m{ctx.branch}", ctx.seed, row["branch"]
        return "$reject" if answer == "leave" else None


class Asker(Agent):
    async def handle(self, row: Row, ctx: Context) -> str | None:
        assert not ctx.branches
        row.messages.append(ChatMessage("user", "How many?"))
        return None


class Looker(Agent):
    async def handle(self, row: Row, ctx: Context) -> str | None:
        row["seen"] = [[b.index, b.end, b.arrived, b.row.get("mark")] for b in ctx.branches]
        row["seeds"] = [b.row.get("seed") for b in ctx.branches]
        row["whole"] = "branch" not in row
        return None


def plan(join: str, config: dict[str, Any] | None = None, *, count: int = 3) -> Plan:
    here = f"{__name__}:"
    steps = [
        {"name": "ask", "fanOut": {"branches": [{"to": "solve", "count": count}], "join": "join"}},
        {"name": "solve", "next": [{"to": "$reject", "when": "false"}, {"to": "join"}]},
        {
            "name": "join",
            "next": [
                {"to": "$reject", "when": "has(row.verdict) && row.verdict == 'reject'"},
                {"to": "$accept"},
            ],
        },
    ]
    spec = {
        "source": {"generate": {"rows": 1}},
        "output": {"uri": "/tmp/never"},
        "delivery": {"maxAttempts": 1},
        "flow": {"entry": "ask", "steps": steps},
        "prompts": [{"name": "judge", "text": "Judge."}],
    }
    pools = {"ask": f"{here}Asker", "solve": f"{here}Solver", "join": join}
    return compile_plan(
        parse_pipeline(
            {**HEAD, "kind": "SyntheticPipeline", "metadata": {"name": "p"}, "spec": spec}
        ),
        [
            parse_pool(
                {
                    **HEAD,
                    "kind": "AgentPool",
                    "metadata": {"name": name},
                    "spec": {
                        "pipelineRef": {"name": "p"},
                        "agent": agent,
                        "config": config if name == "join" and config else {},
                        "engine": {"simulator": {}},
                    },
                }
            )
            for name, agent in pools.items()
        ],
    )


async def walk(plan: Plan, *answers: str, judge: Scripted | None = None) -> Walked:
    engines = {"join": judge} if judge is not None else {}
    return await run_row(plan, {"id": "r", "answers": list(answers)}, engines=engines)


async def test_the_join_sees_the_row_as_it_was_divided_and_its_branches_in_order() -> None:
    walked = await walk(plan(f"{__name__}:Looker"), "1", "leave", "fail")
    assert walked.end == "$accept"
    assert walked.row["seen"] == [
        [1, "", True, "m1"],
        [2, "$reject", False, "m2"],
        [3, "$dead", False, None],
    ]
    assert walked.row["whole"]
    assert [m.content for m in walked.row.messages] == ["How many?"]
    assert walked.path == ["ask", "solve", "solve", "solve", "join"]
    assert [(s.hop, s.branch) for s in walked.segments] == [(0, 0), (1, 1), (1, 2), (1, 3), (2, 0)]


async def test_each_branch_has_a_seed_of_its_own_the_same_every_time() -> None:
    one, other = [await walk(plan(f"{__name__}:Looker"), "1", "2", "3") for _ in range(2)]
    seeds = one.row["seeds"]
    assert len(set(seeds)) == 3
    assert seeds == other.row["seeds"]


async def test_a_vote_keeps_the_answer_that_most_branches_give() -> None:
    chooser = plan("weft.builtin:ChooserAgent", {"by": "vote"}, count=5)
    walked = await walk(chooser, "#### 7", "I say 8", "it is 7.0", "fail", "so 9")
    assert walked.end == "$accept"
    assert walked.row.messages[-1].content == "#### 7"
    assert (walked.row["chosen"], walked.row["agreement"]) == (1, 0.4)
    assert walked.row["mark"] == "m1"
    assert "branch" not in walked.row


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (("#### 1", "#### 2", "#### 3"), "only 1 of 3 branches agree; 2 have to (atLeast)"),
        (("fail", "leave", "#### 3"), "1 of 3 branches came to the join, 2 have to; branch 1: "),
        (("one", "two", "three"), "none of 3 branches has a number at its end"),
    ],
)
async def test_a_vote_without_a_majority_rejects_the_row_and_says_why(
    answers: tuple[str, ...], reason: str
) -> None:
    walked = await walk(plan("weft.builtin:ChooserAgent", {"by": "vote", "atLeast": 2}), *answers)
    assert walked.end == "$reject"
    assert walked.reason.startswith(reason)


async def test_a_judge_keeps_the_best_branch_and_what_was_worse_makes_a_pair() -> None:
    scores = Scripted(
        *(json.dumps({"score": n, "feedback": f"f{n}", "turn": 0}) for n in (4, 9, 6))
    )
    chooser = plan("weft.builtin:ChooserAgent", {"by": "judge", "prompt": "judge"})
    walked = await walk(chooser, "poor", "good", "fair", judge=scores)
    assert walked.row.messages[-1].content == "good"
    assert (walked.row["chosen"], walked.row["score"]) == (2, 9)
    rejected = walked.row["rejected_answers"]
    assert [(one["content"], one["score"], one["message"]) for one in rejected] == [
        ("poor", 4, 1),
        ("fair", 6, 1),
    ]


async def test_what_branches_made_is_gathered_in_their_order() -> None:
    gather = plan(
        "weft.builtin:GathererAgent", {"fields": ["mark"], "answers": "said", "messages": True}
    )
    walked = await walk(gather, "first", "fail", "third")
    assert walked.row["mark"] == ["m1", None, "m3"]
    assert walked.row["said"] == ["first", None, "third"]
    assert [m.content for m in walked.row.messages] == ["How many?", "first", "third"]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"by": "judge"}, "by: there is nothing to judge by"),
        ({"by": "vote", "prompt": "judge"}, "by: a vote has no judge"),
        ({"by": "judge", "prompt": "judge", "voteOn": "x"}, "voteOn: the judge counts no votes"),
    ],
)
def test_a_chooser_that_makes_no_sense_is_refused(config: dict[str, Any], problem: str) -> None:
    from weft.builtin import ChooserAgent
    from weft.loading import config_faults

    (line,) = config_faults(ChooserAgent, config, "spec.config")
    assert problem in line
