"""The fake OpenAI endpoint (`weft.engines.fake_endpoint`) in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import ProxyHandler, build_opener

MODULE = "weft.engines.fake_endpoint"
"""What tells its process from a run's."""


class Endpoint:
    def __init__(self, url: str) -> None:
        self.url = url

    def stats(self, *, until: float) -> dict[str, Any]:
        """Its counts, and how busy the slots were from the first request to `until` (Unix s)."""
        address = f"{self.url.removesuffix('/v1')}/stats?until={until}"
        with build_opener(ProxyHandler({})).open(address, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@contextmanager
def endpoint(*, slots: int, mean: float, sigma: float, seed: int = 1) -> Iterator[Endpoint]:
    """Times in seconds. The same seed gives every system the same times, in the order of its calls,
    whatever it asks."""
    options = {"slots": slots, "mean": mean, "sigma": sigma, "seed": seed}
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            MODULE,
            "--by-turn",
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        yield Endpoint(server.stdout.readline().strip())
    finally:
        server.terminate()
        server.wait(10)
