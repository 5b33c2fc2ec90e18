"""The same seed and versions give the same row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from weft.row import Row
from weft.testing import Rows
from weft_api.load import load
from weft_api.plan import Plan

EXAMPLE = Path(__file__).parents[3] / "examples" / "support"


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.syspath_prepend(EXAMPLE)
    return load([EXAMPLE]).compile()


async def made(plan: Plan, row_id: str) -> dict[str, Any]:
    """A row with all that does not depend on the clock."""
    from weft.data.source import read

    source = next(row for row in read(plan.source, {}) if row.id == row_id)
    async with Rows(plan) as rows:
        walked = await rows.run(Row(source.id, source.columns))
    told = msgspec.to_builtins([walked.row, walked.end, walked.reason])
    for segment in walked.segments:
        segment.started = segment.seconds = 0.0
        for call in [*segment.models, *segment.tools]:
            call.seconds = 0.0
    return {"row": told, "segments": msgspec.to_builtins(walked.segments)}


async def test_the_same_seed_and_versions_make_the_same_row(plan: Plan) -> None:
    first = await made(plan, "case-0003")
    assert await made(plan, "case-0003") == first
    assert first["segments"]
    seeded = plan.model_copy(update={"seed": plan.seed + 1})
    assert await made(seeded, "case-0003") != first
