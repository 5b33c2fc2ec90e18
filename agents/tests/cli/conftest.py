"""Lets the tests here share `good_manifests`, and run `weft` in this process or in its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Of standard error, without the program's name."""
        assert all(line.startswith("weft: ") for line in self.err.splitlines()), self.err
        return [line.removeprefix("weft: ") for line in self.err.splitlines()]


Weft = Callable[..., Result]


@pytest.fixture
def weft(capsys: pytest.CaptureFixture[str]) -> Iterator[Weft]:
    """Runs a command in this process, which spares the imports; modules and paths that it brought
    in are gone again afterwards."""
    from weft.cli import main

    path, modules, environ = sys.path[:], set(sys.modules), dict(os.environ)

    def call(*args: str | Path) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([str(arg) for arg in args])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Result(ended.value.code, captured.out, captured.err)

    yield call
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("answers_", "my_agents")):
            del sys.modules[name]
    os.environ.clear()
    os.environ.update(environ)


def weft_process(*args: str | Path, timeout: float = 110.0) -> Result:
    """Runs a command as a person does."""
    done = subprocess.run(
        [sys.executable, "-c", "from weft.cli import main; main()", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)
