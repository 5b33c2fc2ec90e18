"""Divided rows in the manifest: what cannot come together again is refused, with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from weft_api.errors import ManifestErrors
from weft_api.parse import parse_pipeline, parse_pool
from weft_api.plan import Plan, compile_plan

HEAD = {"apiVersion": "weft.dev/v1alpha1"}
Steps = dict[str, dict[str, Any]]


def compiled(steps: Steps) -> Plan:
    spec = {
        "source": {"generate": {"rows": 1}},
        "output": {"uri": "s3://b/out"},
        "flow": {
            "entry": next(iter(steps)),
            "steps": [{"name": name, **step} for name, step in steps.items()],
        },
    }
    pipeline = parse_pipeline(
        {**HEAD, "kind": "SyntheticPipeline", "metadata": {"name": "p"}, "spec": spec}
    )
    pools = [
        {
            **HEAD,
            "kind": "AgentPool",
            "metadata": {"name": name},
            "spec": {"pipelineRef": {"name": "p"}, "agent": "weft.builtin:EchoAgent"},
        }
        for name in steps
    ]
    return compile_plan(pipeline, [parse_pool(pool) for pool in pools])


def fan(*branches: tuple[str, int], join: str = "join") -> dict[str, Any]:
    return {"branches": [{"to": to, "count": count} for to, count in branches], "join": join}


def good(**changed: dict[str, Any]) -> Steps:
    steps: Steps = {
        "ask": {"fanOut": fan(("solve", 3), ("doubt", 1))},
        "solve": {"next": [{"to": "join"}]},
        "doubt": {"next": [{"to": "$reject", "when": "row.x"}, {"to": "join"}]},
        "join": {"next": [{"to": "ask", "when": "row.again"}, {"to": "$accept"}]},
    }
    return {**steps, **changed}


def test_branches_are_numbered_as_they_are_written() -> None:
    plan = compiled(good())
    fan_out = plan.flow.step("ask").fan_out
    assert fan_out is not None
    assert fan_out.ways == ["solve", "solve", "solve", "doubt"]
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("steps", "field", "problem", "fix"),
    [
        (
            good(ask={"fanOut": fan(("solv", 1))}),
            "spec.flow.steps[0].fanOut.branches[0].to",
            'step "solv" does not exist',
            'did you mean "solve"?',
        ),
        (
            good(ask={"fanOut": fan(("solve", 1), join="joint")}),
            "spec.flow.steps[0].fanOut.join",
            'step "joint" does not exist',
            'did you mean "join"?',
        ),
        (
            good(ask={"fanOut": fan(("solve", 16), ("doubt", 1))}),
            "spec.flow.steps[0].fanOut.branches",
            "17 branches are more than the 16",
            "lower a `count`",
        ),
        (
            good(ask={"fanOut": fan(("solve", 1), join="ask")}),
            "spec.flow.steps[0].fanOut.join",
            "cannot join it as well",
            "a step of its own",
        ),
        (
            good(ask={"fanOut": fan(("join", 1))}),
            "spec.flow.steps[0].fanOut.branches[0].to",
            'begins at its join "join"',
            "before the join",
        ),
        (
            good(solve={"next": [{"to": "$accept"}]}),
            "spec.flow.steps[0].fanOut.branches[0].to",
            "can come to $accept, past its join",
            "lead the branch's ways to join",
        ),
        (
            good(solve={"next": [{"to": "$reject"}]}),
            "spec.flow.steps[0].fanOut.branches[0].to",
            'no way leads from "solve" to the join "join"',
            "give one of its steps a way to join",
        ),
        (
            good(solve={"next": [{"to": "ask", "when": "row.x"}, {"to": "join"}]}),
            "spec.flow.steps[0].fanOut.branches[0].to",
            'a branch comes to step "ask", which divides rows itself',
            "cannot be divided again",
        ),
        (
            good(ask={"next": [{"to": "solve"}], "fanOut": fan(("solve", 1), ("doubt", 1))}),
            "spec.flow.steps[0].next",
            "the row is never divided",
            "give the way a `when`",
        ),
        (
            good(solve={}),
            "spec.flow.steps[1]",
            "the step has no way out",
            "add `next`, or `fanOut`",
        ),
    ],
)
def test_branches_that_cannot_come_together_are_refused(
    steps: Steps, field: str, problem: str, fix: str
) -> None:
    with pytest.raises(ManifestErrors) as caught:
        compiled(steps)
    lines = [str(error) for error in caught.value.errors]
    assert any(field in line and problem in line and fix in line for line in lines), lines
