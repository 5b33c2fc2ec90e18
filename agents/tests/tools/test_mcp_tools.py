"""Tools of MCP servers: real ones made with the SDK, as a process of ours and over HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from weft.engines.base import EngineError
from weft.row import Row, ToolCall
from weft.testing import Rows, Scripted
from weft.tools import mcp as mcp_tools
from weft.tools.mcp import Sessions
from weft.tools.toolbox import Toolbox
from weft_api.load import load
from weft_api.pipeline import Tool as ToolSpec

SERVER = Path(__file__).with_name("mcp_shop.py")
ALL = {"lookup_order", "pay", "refuse", "die", "slow", "huge", "who", "header"}


def stdio(name: str = "shop", **settings: Any) -> ToolSpec:
    command = ["python", str(SERVER)]
    return ToolSpec.model_validate({"name": name, "mcp": {"command": command, **settings}})


@asynccontextmanager
async def toolbox(*specs: ToolSpec, row: str = "r1", hop: int = 2) -> AsyncIterator[Toolbox]:
    sessions = Sessions(specs)
    try:
        tools = await sessions.join({})
        yield Toolbox(tools, row_id=row, hop=hop, log=logging.getLogger("test"), ask=lambda: None)  # type: ignore[arg-type, return-value]
    finally:
        await sessions.close()


async def said(box: Toolbox, name: str, arguments: str = "{}", id: str = "c1") -> str:
    return (await box.call(ToolCall(id, name, arguments), Row("r1", {}))).content


async def test_a_servers_tools_are_offered_by_their_own_names_and_called() -> None:
    async with toolbox(stdio()) as box:
        definitions = box.definitions(["shop"])
        assert {one["function"]["name"] for one in definitions} == ALL
        assert definitions == box.definitions()
        (one,) = box.definitions(["lookup_order"])
        assert one["function"]["description"] == "Looks an order up by its number."
        assert one["function"]["parameters"]["required"] == ["order"]
        assert '"sent"' in await said(box, "lookup_order", '{"order": "A1"}')
        assert "bad arguments" in await said(box, "lookup_order", '{"order": 1}')


async def test_only_the_tools_of_the_list_are_offered() -> None:
    async with toolbox(stdio(tools=["pay", "who"])) as box:
        assert [one["function"]["name"] for one in box.definitions()] == ["pay", "who"]
        assert "there is no tool `refuse`" in await said(box, "refuse")
    with pytest.raises(
        EngineError, match=r"tools\[shop\]\.mcp\.tools\[0\]: .* no tool `buy`; it has"
    ):
        async with toolbox(stdio(tools=["buy"])):
            pass


async def test_each_call_carries_a_key_that_is_the_same_for_every_attempt_at_it() -> None:
    async with toolbox(stdio()) as box:
        assert await said(box, "pay", '{"amount": 3}') == "r1/2/c1 paid 3"
        assert await said(box, "pay", '{"amount": 5}') == "r1/2/c1 again 3"
        assert await said(box, "pay", '{"amount": 5}', "c2") == "r1/2/c2 paid 5"


async def test_what_goes_wrong_is_told_in_the_dialogue() -> None:
    async with toolbox(stdio(timeout="2s", maxResult="1Ki")) as box:
        assert "Error executing tool refuse" in await said(box, "refuse")
        assert "slow gave no answer within 2 s" in await said(box, "slow")
        assert "more than the 1024 allowed" in await said(box, "huge")
        assert '"sent"' in await said(box, "lookup_order", '{"order": "A1"}')
        assert [bool(trace.error) for trace in box.traces] == [True, True, True, False]


async def test_calls_beyond_the_limit_wait_and_their_wait_is_no_time_out() -> None:
    async with toolbox(stdio(concurrency=1, timeout="500ms")) as box:
        answers = await asyncio.gather(said(box, "slow"), said(box, "who", id="c2"))
        assert "gave no answer" in answers[0]
        assert "None" in answers[1]


async def test_a_server_that_dies_is_started_again() -> None:
    async with toolbox(stdio()) as box:
        first = (await said(box, "who")).split()[0]
        os.kill(int(first), signal.SIGKILL)
        second = (await said(box, "who")).split()[0]
        assert second.isdigit()
        assert second != first
        assert "die is out of order" in await said(box, "die")
        assert (await said(box, "who")).split()[0] not in (first, second)


async def test_a_server_gets_the_secrets_it_is_given_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "s3cret")
    monkeypatch.setenv("OTHER_SECRET", "not yours")
    ref = {"name": "shop", "key": "token"}
    async with toolbox(stdio(env=[{"name": "SHOP_API_KEY", "secretRef": ref}])) as box:
        assert (await said(box, "who")).split()[1:] == ["s3cret", "None"]
    monkeypatch.delenv("SHOP_TOKEN")
    with pytest.raises(EngineError, match="SHOP_TOKEN is not set"):
        async with toolbox(stdio(env=[{"name": "SHOP_API_KEY", "secretRef": ref}])):
            pass


async def test_a_server_that_cannot_be_started_is_told_in_one_line() -> None:
    spec = ToolSpec.model_validate({"name": "shop", "mcp": {"command": ["no-such-server"]}})
    with pytest.raises(EngineError) as caught:
        async with toolbox(spec):
            pass
    assert caught.value.transient
    assert "tools[shop].mcp: " in str(caught.value)
    assert "no-such-server" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_two_servers_with_a_tool_of_one_name_are_refused() -> None:
    with pytest.raises(EngineError, match=r"tools\[other\]\.mcp: `who` is a tool of shop too"):
        async with toolbox(stdio(tools=["who"]), stdio("other", tools=["who"])):
            pass


async def test_generations_of_the_plan_share_a_session_and_the_last_one_ends_it() -> None:
    first, second = Sessions([stdio()]), Sessions([stdio()])
    await first.join({})
    await second.join({})
    assert len(mcp_tools._servers) == 1
    await first.close()
    assert len(mcp_tools._servers) == 1
    await second.close()
    assert not mcp_tools._servers


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def serve(port: int) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(
        [sys.executable, str(SERVER), "http", str(port)], stderr=subprocess.DEVNULL
    )
    for _ in range(400):
        with socket.socket() as probe:
            probe.settimeout(0.1)
            if not probe.connect_ex(("127.0.0.1", port)):
                return server
        try:
            server.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("the server did not come up")


@pytest.fixture
def http_server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    server = serve(port)
    yield server
    server.kill()
    server.wait()


async def test_a_server_over_http_gets_its_headers_and_comes_back_after_a_restart(
    http_server: subprocess.Popen[bytes], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "s3cret")
    header = {
        "name": "Authorization",
        "prefix": "Bearer ",
        "secretRef": {"name": "shop", "key": "token"},
    }
    spec = ToolSpec.model_validate(
        {"name": "shop", "mcp": {"url": f"http://127.0.0.1:{port}/mcp", "headers": [header]}}
    )
    async with toolbox(spec) as box:
        assert {one["function"]["name"] for one in box.definitions()} == ALL
        assert await said(box, "header") == "Bearer s3cret"
        assert await said(box, "pay", '{"amount": 3}') == "r1/2/c1 paid 3"
        http_server.kill()
        http_server.wait()
        assert "header is out of order" in await said(box, "header")
        again = serve(port)
        try:
            assert await said(box, "header") == "Bearer s3cret"
        finally:
            again.kill()
            again.wait()


MANIFEST = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {name: shop}
spec:
  source: {generate: {rows: 1}}
  output: {uri: out}
  flow:
    entry: drafter
    steps:
    - {name: drafter, next: [{to: tools, when: has(row.tool_calls)}, {to: $accept}]}
    - {name: tools, next: [{to: drafter}]}
  prompts: [{name: draft, text: "Where is order A1?"}]
  tools:
  - {name: shop, mcp: {command: [python, SERVER], tools: [lookup_order]}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: drafter}
spec:
  pipelineRef: {name: shop}
  agent: weft.builtin:ChatAgent
  config: {tools: [shop]}
  engine: {simulator: {latency: {median: 0ms}, toolCallRate: 1}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: tools}
spec: {pipelineRef: {name: shop}, agent: weft.builtin:ToolAgent}
"""


async def test_a_pipeline_calls_a_server_and_records_the_versions_of_its_tools(
    tmp_path: Path,
) -> None:
    (tmp_path / "shop.yaml").write_text(MANIFEST.replace("SERVER", str(SERVER)))
    plan = load([tmp_path]).compile()
    async with Rows(plan) as rows:
        walked = await rows.run(Row("r1", {}))
    assert walked.end == "$accept"
    assert walked.row.tools[0]["function"]["name"] == "lookup_order"
    traces = [trace for segment in walked.segments for trace in segment.tools]
    assert traces
    assert all('"sent"' in one.result and len(one.version) == 12 for one in traces)
    assert not mcp_tools._servers


async def test_a_server_that_is_away_makes_the_row_wait_and_not_die(tmp_path: Path) -> None:
    """What every agent of a run does while a server is not up yet."""
    (tmp_path / "shop.yaml").write_text(MANIFEST.replace("python, SERVER", "no-such-server"))
    plan = load([tmp_path]).compile()
    async with Rows(plan, engines={"drafter": Scripted()}) as rows:
        walked = await rows.run(Row("r1", {}))
    assert walked.end == "$dead"
    assert "attempt 30 of 30" in walked.reason
    assert "tools[shop].mcp" in walked.reason
