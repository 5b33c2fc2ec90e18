"""Figures, limits, and how they are shown and written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from weft.bench.figures import Figure, Result, at_least, at_most, quantile
from weft.bench.report import number, show, write


@pytest.fixture
def result() -> Result:
    return Result(
        "hops",
        "nothing at all",
        2,
        0.5,
        {"rows": 10},
        [
            Figure("rate", 12_345.6, "hops/s", at_least(10_000)),
            Figure("CPU", 61.25, "µs/hop", at_most(50), "with everything"),
            Figure("busy", 0.975, "%", at_least(0.97)),
            Figure("bytes", 4_848, "bytes/hop"),
        ],
    )


def test_a_limit_is_met_at_the_limit_itself() -> None:
    assert at_least(5).met(5)
    assert at_most(5).met(5)
    assert not at_least(5).met(4.99)
    assert not at_most(5).met(5.01)


def test_only_figures_with_a_limit_can_miss_it(result: Result) -> None:
    assert [figure.met for figure in result.figures] == [True, False, True, None]
    assert [figure.name for figure in result.missed] == ["CPU"]


def test_the_table_shows_value_limit_and_verdict(result: Result) -> None:
    console = Console(record=True, width=120)
    show(console, result)
    lines = console.export_text().splitlines()
    shown = {line.split("  ")[0]: " ".join(line.split()) for line in lines}
    assert shown["rate"] == "rate 12,346 hops/s ≥ 10,000 held"
    assert shown["CPU"] == "CPU 61.2 µs/hop ≤ 50 missed with everything"
    assert shown["busy"] == "busy 97.5% ≥ 97% held"
    assert shown["bytes"] == "bytes 4,848 bytes/hop"


def test_the_file_holds_what_was_measured(result: Result, tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    write(target, [result])
    (found,) = json.loads(target.read_text())
    assert found["settings"] == {"rows": 10}
    assert found["figures"][1]["value"] == 61.25
    assert found["figures"][1]["limit"] == {"kind": "at most", "value": 50}
    assert found["figures"][1]["met"] is False
    assert found["figures"][3]["met"] is None


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.01234, "0.0123"), (9.876, "9.88"), (99.96, "100"), (12_345.6, "12,346"), (0, "0")],
)
def test_numbers_have_as_many_digits_as_they_are_worth(value: float, said: str) -> None:
    assert number(value) == said


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(one) for one in range(100, 0, -1)]
    assert quantile(values, 0.5) == 51
    assert quantile(values, 0.99) == 100
    assert quantile([7.0], 0.99) == 7
