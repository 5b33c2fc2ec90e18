"""The graph: which step is next."""

from __future__ import annotations

import pytest

from weft.flow.graph import FlowError, Graph
from weft.row import Row
from weft_api.plan import Flow


def graph() -> Graph:
    return Graph(
        Flow.model_validate(
            {
                "entry": "drafter",
                "maxHops": 8,
                "steps": [
                    {
                        "name": "drafter",
                        "next": [{"to": "tools", "when": "has(row.call)"}, {"to": "judge"}],
                    },
                    {"name": "tools", "next": [{"to": "drafter"}]},
                    {
                        "name": "judge",
                        "next": [
                            {"to": "drafter", "when": "row.verdict == 'revise'"},
                            {"to": "$reject", "when": "row.verdict == 'reject'"},
                            {"to": "$accept", "when": "row.verdict == 'accept'"},
                        ],
                    },
                ],
            }
        )
    )


def row(**data: object) -> Row:
    return Row("r1", {}, dict(data))


@pytest.mark.parametrize(
    ("step", "data", "returned", "expected"),
    [
        ("drafter", {}, None, "judge"),
        ("drafter", {"call": 1}, None, "tools"),
        ("tools", {}, None, "drafter"),
        ("judge", {"verdict": "revise"}, None, "drafter"),
        ("judge", {"verdict": "reject"}, None, "$reject"),
        ("judge", {"verdict": "accept"}, None, "$accept"),
        ("judge", {"verdict": "accept"}, "$reject", "$reject"),
        ("drafter", {}, "tools", "tools"),
    ],
)
def test_the_first_edge_that_holds_wins_unless_the_agent_names_one(
    step: str, data: dict[str, object], returned: str | None, expected: str
) -> None:
    assert graph().next_step(step, row(**data), returned) == expected


@pytest.mark.parametrize(
    ("step", "data", "returned", "told"),
    [
        ("judge", {"verdict": "hm"}, None, "no edge's `when` holds"),
        ("judge", {}, None, "flow.steps[judge].next[drafter].when"),
        ("drafter", {}, "jugde", "did it mean `judge`?"),
        ("drafter", {}, "$accept", "it allows `tools`, `judge`"),
        ("nowhere", {}, None, "no step `nowhere`"),
        ("drafter", {}, 5, "returned a int"),
        ("drafter", {}, "x" * 5000, "does not name"),
    ],
)
def test_a_row_without_a_way_on_gets_one_clear_line(
    step: str, data: dict[str, object], returned: str | None, told: str
) -> None:
    with pytest.raises(FlowError) as refused:
        graph().next_step(step, row(**data), returned)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
