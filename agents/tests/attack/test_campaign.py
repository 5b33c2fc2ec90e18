"""What the attack says of commands that do not do what `weft run` must, by stand-ins for it. (The
real one is under attack in `make test-attack`.)"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from weft.attack import campaign, pulse
from weft.attack.campaign import Attack, Called, Round
from weft.attack.processes import Command
from weft.attack.strikes import strikes

LASTING = "617.3"
"""Seconds of a `sleep` that must not be left."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the pipeline lies. The limits are short; and no process may be left of any test."""
    made = tmp_path / "attacked"
    monkeypatch.setattr(campaign.tempfile, "mkdtemp", lambda **_: made.mkdir() or str(made))
    monkeypatch.setattr(campaign, "slowness", lambda: 1.0)
    monkeypatch.setattr(campaign, "GONE", 1.0)
    monkeypatch.setattr(pulse, "BEGINS", 2.0)
    yield made
    left = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
    assert [words for words in left if str(made) in words or LASTING in words] == []


def run(text: str, off: threading.Event | None = None) -> Round:
    class StandIn(Command):
        program = text

    return Attack("1/0/0", 3, off or threading.Event(), StandIn).run(strikes("1", 10), 10)


def test_a_command_that_commits_nothing_hangs(folder: Path) -> None:
    found = run("import time; time.sleep(600)")
    assert found.faults == ["no rows were committed within 2 s of the start"]
    assert found.blows == []
    assert found.evidence == str(folder)
    assert (folder / "rows.jsonl").exists()


def test_a_command_that_fails_is_told_with_its_words(folder: Path) -> None:
    (fault,) = run("import sys; sys.exit('weft: run: no')").faults
    assert fault == "the command ended with 1: weft: run: no\n"


def test_a_command_that_leaves_a_process_is_found(folder: Path) -> None:
    (fault,) = run(f"import subprocess as s; s.Popen(['sleep', '{LASTING}'])").faults
    assert fault.startswith("the run is over: 1 processes are left after 1 s")


def test_a_command_that_ends_without_the_rows_has_lost_them(folder: Path) -> None:
    found = run("")
    assert found.faults == [f"row-00000{number} is lost" for number in range(3)]


def test_an_attack_that_is_called_off_ends_its_command_and_leaves_nothing(
    folder: Path,
) -> None:
    off = threading.Event()
    threading.Timer(0.5, off.set).start()
    with pytest.raises(Called):
        run("import time; time.sleep(600)", off)
    assert not folder.exists()
