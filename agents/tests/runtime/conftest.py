"""Makes the helpers beside the tests importable under pytest's importlib mode; and what a process
of ours does to the garbage collector ends with the test that it ran in."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def collector_as_before() -> Iterator[None]:
    """Frozen objects are never freed: DuckDB lists them, page after page, when pytest ends."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)
