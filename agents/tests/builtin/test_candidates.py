"""Several candidates for an answer: who is kept, who becomes the rejected half of a pair."""

from __future__ import annotations

import json
from typing import Any

from weft.builtin import ChatAgent, ValidatorAgent
from weft.engines.base import ChatRequest, ChatResult, Engine
from weft.row import ChatMessage, Row
from weft.testing import Scripted, run_row
from weft_api.governance import GovernanceRule
from weft_api.parse import parse_pipeline, parse_pool
from weft_api.plan import Plan, compile_plan

REVIEW = "row.verdict == 'revise'"


def plan(drafter: dict[str, Any], validator: dict[str, Any]) -> Plan:
    head = {"apiVersion": "weft.dev/v1alpha1"}
    steps = [
        {"name": "drafter", "next": [{"to": "validator"}]},
        {
            "name": "validator",
            "next": [
                {"to": "drafter", "when": REVIEW},
                {"to": "$reject", "when": "row.verdict == 'reject'"},
                {"to": "$accept"},
            ],
        },
    ]
    spec = {
        "source": {"generate": {"rows": 1}},
        "output": {"uri": "/tmp/never"},
        "flow": {"entry": "drafter", "steps": steps},
        "prompts": [
            {"name": "draft", "text": "Answer."},
            {"name": "judge", "text": "Judge."},
        ],
    }
    pools = {"drafter": ("ChatAgent", drafter), "validator": ("ValidatorAgent", validator)}
    return compile_plan(
        parse_pipeline(
            {**head, "kind": "SyntheticPipeline", "metadata": {"name": "p"}, "spec": spec}
        ),
        [
            parse_pool(
                {
                    **head,
                    "kind": "AgentPool",
                    "metadata": {"name": name},
                    "spec": {
                        "pipelineRef": {"name": "p"},
                        "agent": f"weft.builtin:{agent}",
                        "config": config,
                        "engine": {"simulator": {}},
                    },
                }
            )
            for name, (agent, config) in pools.items()
        ],
    )


def judged(*scores: int) -> Scripted:
    return Scripted(*(json.dumps({"score": s, "feedback": f"f{s}", "turn": 0}) for s in scores))


DRAFTER = {"prompt": "draft", "opening": "question", "candidates": 3}
ROW = {"id": "r", "question": "What is it?"}


async def test_the_judges_best_candidate_is_kept_and_the_worse_are_remembered() -> None:
    engines = {"drafter": Scripted("bad", "good", "fair"), "validator": judged(3, 9, 8)}
    walked = await run_row(plan(DRAFTER, {"prompt": "judge", "accept": 7}), ROW, engines=engines)
    assert walked.end == "$accept"
    assert [m.content for m in walked.row.messages] == ["What is it?", "good"]
    assert walked.row["score"] == 9
    assert walked.row["rejected_answers"] == [
        {"message": 1, "content": "bad", "score": 3, "reason": "f3"},
        {"message": 1, "content": "fair", "score": 8, "reason": "f8"},
    ]
    assert "candidates" not in walked.row
    assert walked.segments[1].notes == {"candidates": 3}


async def test_a_candidate_that_fails_a_check_is_not_shown_to_the_judge() -> None:
    engines = {"drafter": Scripted("x", "long enough", "x"), "validator": judged(7)}
    checks = [{"length": {"min": 5}}]
    config = {"prompt": "judge", "accept": 7, "checks": checks}
    walked = await run_row(plan(DRAFTER, config), ROW, engines=engines)
    assert walked.row.messages[-1].content == "long enough"
    (rejected,) = walked.row["rejected_answers"]
    assert rejected["content"] == "x"
    assert "score" not in rejected


async def test_equals_make_no_pair() -> None:
    engines = {"drafter": Scripted("one", "two", "three"), "validator": judged(8, 8, 8)}
    walked = await run_row(plan(DRAFTER, {"prompt": "judge", "accept": 7}), ROW, engines=engines)
    assert walked.row.messages[-1].content == "one"
    assert "rejected_answers" not in walked.row


async def test_what_was_revised_is_remembered_with_the_reviewers_words() -> None:
    engines = {"drafter": Scripted("bad", "good"), "validator": judged(4, 9)}
    drafter = {**DRAFTER, "candidates": 1}
    walked = await run_row(plan(drafter, {"prompt": "judge", "accept": 7}), ROW, engines=engines)
    assert walked.row["rejected_answers"] == [
        {"message": 1, "content": "bad", "score": 4, "reason": "f4"}
    ]


async def test_what_is_not_allowed_does_not_leave_in_a_candidate_either() -> None:
    made = plan(DRAFTER, {"prompt": "judge", "accept": 7})
    rule = {"name": "names", "action": "redact", "blocked": {"terms": ["Rumpelstiltskin"]}}
    rules = [GovernanceRule.model_validate(rule)]
    made = made.model_copy(update={"governance": rules})
    drafted = Scripted("fine", "I am Rumpelstiltskin", "also fine")
    engines = {"drafter": drafted, "validator": judged(9, 3, 8)}
    walked = await run_row(made, ROW, engines=engines)
    assert "Rumpelstiltskin" not in str(walked.row)
    assert any("I am" in one["content"] for one in walked.row["rejected_answers"])


class Slow(Engine):
    """Counts the calls that are under way at once."""

    model = "slow"

    def __init__(self) -> None:
        self.at_once = self.most = 0

    async def chat(self, request: ChatRequest) -> ChatResult:
        import asyncio

        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        message = ChatMessage("assistant", f"answer {request.seed}")
        return ChatResult(message=message, model="slow", prompt_tokens=1, completion_tokens=1)


async def test_candidates_are_asked_for_at_once_and_come_out_the_same_each_time() -> None:
    first, again = Slow(), Slow()
    config = {"checks": [{"length": {"min": 1}}]}
    rows = [
        (await run_row(plan(DRAFTER, config), Row("r", ROW), engines={"drafter": engine})).row
        for engine in (first, again)
    ]
    assert first.most == again.most == 3
    assert rows[0] == rows[1]


async def test_a_rubric_gives_a_score_for_each_criterion_and_holds_the_least_of_each() -> None:
    rubric = [
        {"name": "true", "description": "Nothing is made up.", "weight": 3, "least": 6},
        {"name": "brief", "description": "No word too many."},
    ]

    def said(true: int, brief: int) -> str:
        scores = {"true": true, "brief": brief}
        return json.dumps({"scores": scores, "feedback": "", "turn": 0})

    engine = Scripted(said(5, 10), said(8, 4))
    engines = {"drafter": Scripted("a", "b"), "validator": engine}
    config = {"prompt": "judge", "accept": 6, "rubric": rubric}
    walked = await run_row(plan({**DRAFTER, "candidates": 1}, config), ROW, engines=engines)
    assert walked.end == "$accept"
    assert walked.row["revisions"] == 1, "6.25 would do, but `true` has less than 6"
    assert (walked.row["score"], walked.row["scores"]) == (7.0, {"true": 8, "brief": 4})
    assert "Nothing is made up." in engine.asked[0].messages[1].content


def test_conditions_may_name_what_judge_and_drafter_set() -> None:
    chat = ChatAgent.Config.model_validate({"candidates": 2})
    assert ChatAgent.fields_of(chat) >= {"candidates", "rejected_answers"}
    rubric = [{"name": "a", "description": "b"}]
    validator = ValidatorAgent.Config.model_validate({"prompt": "j", "rubric": rubric})
    assert ValidatorAgent.fields_of(validator) >= {"score", "scores", "verdict"}
