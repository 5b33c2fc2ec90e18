"""`weft run --dry-run`: what a whole source takes, told from a sample, and nothing written."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import good_manifests
import pytest
from conftest import Weft

from weft.cli.estimate import Sampled, estimate
from weft_api.load import load
from weft_api.plan import Plan

BUDGET = """
  budget:
    prices: [{model: simulator, prompt: "1", completion: "10"}]
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    good_manifests.write(tmp_path)
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(pipeline.read_text().rstrip() + BUDGET)
    pools = tmp_path / "pools.yaml"
    pools.write_text(pools.read_text().replace("{latency", "{slots: 10, latency"))
    return load([tmp_path]).compile()


def row(seconds: float, *, end: str = "$accept", tokens: int = 100) -> Sampled:
    return Sampled(end, {"draft": seconds}, {"draft": (tokens, tokens)}, 500.0)


def test_the_busiest_pool_sets_the_speed_and_a_row_s_means_all_the_rest(plan: Plan) -> None:
    found = estimate(plan, [row(1.0), row(3.0)], 1000)
    # Ten slots, two seconds a row.
    assert found.rows_per_second.value == pytest.approx(5.0)
    assert found.bottleneck == "pool draft"
    assert found.seconds is not None
    assert found.seconds.value == pytest.approx(200)
    assert found.cost is not None
    assert found.cost.value == pytest.approx(1000 * (100 * 1 + 100 * 10) / 1e6)
    assert found.bytes is not None
    assert found.bytes.value == pytest.approx(500_000)
    assert found.rows_per_second.low <= 5.0 <= found.rows_per_second.high


def test_a_wider_sample_has_a_wider_spread_and_equal_rows_have_none(plan: Plan) -> None:
    equal = estimate(plan, [row(1.0)] * 20, 10).tokens_per_row
    assert equal.low == equal.value == equal.high
    mixed = [row(1.0, tokens=10 * n) for n in range(1, 21)]
    spread = estimate(plan, mixed, 10).tokens_per_row
    assert spread.low < spread.value == fmean(20 * n for n in range(1, 21)) < spread.high


def test_a_sample_of_which_all_are_accepted_does_not_promise_that_all_rows_are(plan: Plan) -> None:
    found = estimate(plan, [row(1.0)] * 20, 10).accepted
    # What accepts 92 % of its rows accepts all of a sample of 20 one time in five.
    assert (found.value, found.high) == (1.0, pytest.approx(1.0))
    assert found.low == pytest.approx(0.924, abs=0.001)
    half = estimate(plan, [row(1.0), row(1.0, end="$reject")] * 50, 10).accepted
    assert (half.low, half.high) == (
        pytest.approx(0.436, abs=0.001),
        pytest.approx(0.564, abs=0.001),
    )


def test_a_target_takes_as_many_rows_as_the_acceptance_says(plan: Plan) -> None:
    output = plan.output.model_copy(update={"target_rows": 300})
    targeted = plan.model_copy(update={"output": output})
    sample = [row(1.0), row(1.0), row(1.0), row(1.0, end="$reject")]
    assert estimate(targeted, sample, None).rows == 400
    assert estimate(targeted, sample, 350).rows == 350


def test_the_command_makes_the_sample_and_leaves_no_output(tmp_path: Path, weft: Weft) -> None:
    good_manifests.write(tmp_path)
    result = weft("run", tmp_path, "--dry-run", "--sample", "2", "--rows", "1000000")
    assert (result.code, result.err) == (0, "")
    assert "2 rows made: 2 accepted" in result.out
    assert "for 1,000,000 rows" in result.out
    assert not (tmp_path / "out").exists()
    refused = weft("run", tmp_path, "--sample", "2")
    assert refused.code == 2
    assert refused.lines == ["run: --sample and --rows belong to --dry-run; add it"]
