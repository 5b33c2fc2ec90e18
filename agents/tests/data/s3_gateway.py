"""A real S3 gateway on loopback: versitygw, as `e2e/cluster/build versitygw` leaves it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECRET = "s3cr3t-of-the-tests"


def program() -> Path | None:
    cache = Path(os.environ.get("WEFT_CACHE") or Path.home() / ".cache" / "weft")
    built = sorted(cache.glob("cluster/bin/versitygw-*/versitygw"), key=os.path.getmtime)
    return built[-1] if built else None


@contextmanager
def gateway(folder: Path, *flags: str, port: int = 0) -> Iterator[dict[str, str]]:
    """Serves the folder; `bucket` is in it. Gives weft's storage options."""
    found = program()
    assert found is not None
    (folder / "bucket").mkdir(parents=True, exist_ok=True)
    port = port or _free_port()
    command = [str(found), "--port", f"127.0.0.1:{port}", "--quiet", "posix", *flags, str(folder)]
    environment = {"ROOT_ACCESS_KEY": "weft-tests", "ROOT_SECRET_KEY": SECRET, "PATH": "/usr/bin"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        _wait(port, server)
        yield {
            "AWS_ACCESS_KEY_ID": "weft-tests",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_REGION": "us-east-1",
        }
    finally:
        server.terminate()
        server.wait(10)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the gateway does not start")
