"""`weft bench` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from weft.bench import hops
from weft.bench.commands import BENCHES, command
from weft.cli import main


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(args)
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_each_benchmark_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", "--help") == 0
    shown = capsys.readouterr().out
    assert set(command.commands) == {*BENCHES, "all"}
    for name in BENCHES:
        assert f"  {name} " in shown


def test_an_unknown_benchmark_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", "hopz") == 2
    told = capsys.readouterr().err.strip()
    assert told.count("\n") == 0
    assert "hopz" in told


def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run("bench", "hops", "--json", str(tmp_path / "missing" / "figures.json")) == 2
    told = capsys.readouterr().err.strip()
    assert told.count("\n") == 0
    assert "--json" in told
    assert "missing" in told


@pytest.mark.ray
@pytest.mark.timeout(240)
def test_hops_are_measured_on_a_real_run() -> None:
    console = Console(quiet=True)
    rate, cpu = hops.through_weft(console, rows=6_000, in_flight=100, target=1.0)
    assert rate.met
    assert rate.value > 100
    assert 1 < cpu.value < 5_000
    assert json.dumps(rate.note)
