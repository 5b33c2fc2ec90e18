"""What pods tell each other over HTTP, and what they say when they cannot start."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from weft.runtime import pod, pod_ray
from weft.runtime.api import make_app
from weft.runtime.remote_head import RemoteHead

TOKEN = "the-token"


class Actor:
    """Stands for the head's actor, which answers calls with awaitables."""

    def __init__(self) -> None:
        self.refused = ""
        self.status = self.plan = self.update = self.drain = self

    def remote(self, *words: str) -> asyncio.Future[str]:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        answer.set_result(self.refused)
        return answer


@pytest.fixture
async def head() -> AsyncIterator[tuple[RemoteHead, str]]:
    """A head whose Ray is not up yet, and its address."""
    remote = RemoteHead()
    async with TestServer(make_app(remote, TOKEN)) as server:
        yield remote, str(server.make_url("")).rstrip("/")


async def test_a_head_names_itself_before_its_ray_is_up(
    head: tuple[RemoteHead, str],
) -> None:
    remote, address = head
    boot, up = await pod._head_at(address)
    assert boot
    assert not up
    remote.actor = Actor()
    assert await pod._head_at(address) == (boot, True)


async def test_each_start_of_a_head_is_another_one(head: tuple[RemoteHead, str]) -> None:
    boot, _ = await pod._head_at(head[1])
    async with TestServer(make_app(RemoteHead(), TOKEN)) as other:
        assert (await pod._head_at(str(other.make_url("")).rstrip("/")))[0] != boot


async def test_no_head_is_no_boot_id() -> None:
    assert await pod._head_at("") == ("", False)
    assert await pod._head_at("http://127.0.0.1:9") == ("", False)


async def test_a_worker_waits_for_its_head_until_it_has_to_go(
    head: tuple[RemoteHead, str],
) -> None:
    remote, address = head
    stopping = asyncio.Event()
    waiting = asyncio.create_task(pod._wait_for_head(address, stopping))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    remote.actor = Actor()
    async with asyncio.timeout(5):
        assert await waiting

    remote.actor = None
    waiting = asyncio.create_task(pod._wait_for_head(address, stopping))
    stopping.set()
    async with asyncio.timeout(5):
        assert await waiting == ""


@pytest.mark.parametrize(
    ("token", "path", "status"),
    [
        ("", "/v1/status", 401),
        ("another", "/v1/plan", 401),
        (TOKEN, "/v1/status", 503),
        (TOKEN, "/v1/plan", 503),
        ("", "/healthz", 503),
        ("", "/metrics", 200),
    ],
)
async def test_a_head_that_starts_says_so_and_to_its_own_only(
    head: tuple[RemoteHead, str], token: str, path: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with ClientSession(head[1], headers=headers) as session, session.get(path) as answer:
        assert answer.status == status


async def test_a_refused_plan_is_told_why(head: tuple[RemoteHead, str]) -> None:
    remote, address = head
    remote.actor = actor = Actor()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with ClientSession(address, headers=headers) as session:
        async with session.put("/v1/plan", data="{}") as answer:
            assert answer.status == 200
        actor.refused = "generation 3 is not newer than 3"
        async with session.put("/v1/plan", data="{}") as answer:
            assert answer.status == 422
            assert json.loads(await answer.text()) == {"error": actor.refused}


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ("", "the plan cannot be read"),
        ("{}", "the plan cannot be read"),
    ],
)
def test_a_pod_without_a_plan_says_so_in_one_line(tmp_path: Path, plan: str, says: str) -> None:
    path = tmp_path / "plan.json"
    if plan:
        path.write_text(plan)
    env = {**os.environ, "WEFT_PLAN": str(path), "POD_NAME": "pod-1"}
    command = [sys.executable, "-c", "from weft.cli import main; main()"]
    for role in ("head", "agent", "writer"):
        done = subprocess.run([*command, role], capture_output=True, text=True, env=env, timeout=60)
        assert done.returncode == 1
        assert done.stderr.startswith(f"weft {role}: {path}: {says}")
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_variable_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEFT_TOKEN", raising=False)
    with pytest.raises(pod_ray.PodError, match=r"WEFT_TOKEN is not set; the operator sets it"):
        pod_ray.required("WEFT_TOKEN")
