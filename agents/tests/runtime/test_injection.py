"""Rows that are handed in while a pipeline runs: kept before they are answered for, made once."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from deltalake import DeltaTable

from weft import Agent, Context, Row
from weft.cli.injecting import inject
from weft.cli.refused import Refused
from weft.data.injected import BadRows
from weft.runtime.agent import AgentProcess
from weft.runtime.api import make_app
from weft.runtime.head import HeadProcess
from weft.runtime.process import Place
from weft.runtime.running_here import RunFile, announced
from weft.runtime.status import Status
from weft.runtime.writer import WriterProcess
from weft_api.load import load
from weft_api.plan import Plan

MANIFESTS = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {name: open}
spec:
  source: {dataset: {uri: rows.jsonl, idField: id}}
  output: {uri: ./out, commitInterval: 100ms}
  delivery: {inFlightRows: 4}
  flow: {entry: only, steps: [{name: only, next: [{to: $accept}]}]}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {name: only}
spec: {pipelineRef: {name: open}, agent: "weft.builtin:MetadataAgent"}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "rows.jsonl").write_bytes(_lines(f"s{n}" for n in range(20)))
    (tmp_path / "pipeline.yaml").write_text(MANIFESTS)
    return load([tmp_path]).compile()


async def test_rows_handed_in_are_made_once_though_the_head_dies_after_its_answer(
    tmp_path: Path, plan: Plan
) -> None:
    # No agent yet: nothing ends, and the head is gone before any of it was begun.
    head = HeadProcess(Place("head", "open", "token"), plan, grace=0)
    life = asyncio.create_task(head.run())
    await _running(head)
    taken = await head.inject(_lines(["a", "b", "a", "s3"]), 5)
    assert (taken.accepted, taken.known) == (2, ["a", "s3"])
    again = await head.inject(_lines(["b", "c"]), None)
    assert (again.accepted, again.known) == (1, ["b"])
    with pytest.raises(BadRows, match="line 2: no id: 'id' must be text or a number"):
        await head.inject(b'{"id": "d"}\n{"x": 1}\n', None)
    with pytest.raises(BadRows, match="line 1: not JSON"):
        await head.inject(b"{,}", None)
    head.stop()
    await life

    status = await _to_its_end(plan)
    assert status.phase == "Succeeded"
    assert status.rows.accepted == status.rows.total == 23
    rows = DeltaTable(tmp_path / "out").to_pandas()
    wanted = [f"s{n}" for n in range(20)] + ["a", "b", "c"]
    assert Counter(rows["id"]) == Counter(wanted)

    # They are done, and known, for ever.
    final = await _to_its_end(plan)
    assert final.rows.resumed == final.rows.accepted == 23


async def test_a_target_refuses_rows_that_have_no_place_in_the_source(plan: Plan) -> None:
    output = plan.output.model_copy(update={"target_rows": 5})
    head = HeadProcess(
        Place("head", "open", "token"), plan.model_copy(update={"output": output}), grace=0
    )
    life = asyncio.create_task(head.run())
    await _running(head)
    with pytest.raises(BadRows, match="targetRows"):
        await head.inject(_lines(["a"]), None)
    head.stop()
    await life


async def test_urgent_rows_overtake_under_load(tmp_path: Path, plan: Plan) -> None:
    """Fifty rows without and fifty with a priority, at once, into a pipeline with a backlog."""
    (tmp_path / "rows.jsonl").write_bytes(_lines(f"s{n}" for n in range(1200)))
    (pool,) = plan.pools
    slow = pool.model_copy(update={"agent": f"{__name__}:Slow", "concurrency": 4})
    delivery = plan.delivery.model_copy(update={"in_flight_rows": 300})
    plan = plan.model_copy(update={"pools": [slow], "delivery": delivery})
    handed = 0.0

    async def hand_in(head: HeadProcess) -> None:
        nonlocal handed
        await _running(head)
        while head.status().rows.in_flight < 300:
            await asyncio.sleep(0.01)
        handed = time.time()
        await head.inject(_lines(f"plain-{n}" for n in range(50)), None)
        await head.inject(_lines(f"urgent-{n}" for n in range(50)), 10)

    status = await _to_its_end(plan, meanwhile=hand_in)
    assert status.rows.accepted == 1300
    rows = DeltaTable(tmp_path / "out").to_pandas()
    waited = {
        kind: sorted(
            path[0]["started"] - handed
            for name, path in zip(rows["id"], rows["provenance"], strict=True)
            if name.startswith(kind)
        )
        for kind in ("plain", "urgent")
    }
    for kind, times in waited.items():
        print(f"{kind}: p50 {times[25]:.3f} s, p99 {times[49]:.3f} s until an agent has it")
    assert len(waited["urgent"]) == len(waited["plain"]) == 50
    # Not only on average: the last of the urgent ones is before most of the others.
    assert waited["urgent"][49] < waited["plain"][25]


async def test_the_deadline_of_rows_that_are_handed_in_counts_from_then(
    tmp_path: Path, plan: Plan
) -> None:
    flow = plan.flow.model_copy(update={"deadline": "duration('1h')"})
    plan = plan.model_copy(update={"flow": flow})

    async def hand_in(head: HeadProcess) -> None:
        await _running(head)
        await head.inject(_lines(["soon"]), None, 30.0)
        await head.inject(_lines(["by-the-pipeline"]), None)

    before = time.time()
    await _to_its_end(plan, meanwhile=hand_in)
    after = time.time()
    rows = DeltaTable(tmp_path / "out").to_pandas().set_index("id")
    due = {name: at["at"].timestamp() for name, at in rows["deadline"].items()}
    assert before + 30 <= due["soon"] <= after + 30
    assert before + 3600 <= due["by-the-pipeline"] <= after + 3600
    assert all(at["met"] for at in rows["deadline"])


class Slow(Agent):
    async def handle(self, row: Row, ctx: Context) -> None:
        await asyncio.sleep(0.01)


async def _running(head: HeadProcess) -> None:
    async with asyncio.timeout(20):
        while head.status().rows.in_flight == 0:
            await asyncio.sleep(0.02)


async def _to_its_end(
    plan: Plan, *, meanwhile: Callable[[HeadProcess], Awaitable[None]] | None = None
) -> Status:
    """The whole pipeline in this process, without Ray."""
    head = HeadProcess(Place("head", "open", "token"), plan, grace=0)
    life = asyncio.create_task(head.run())

    async def locate() -> str:
        return await asyncio.shield(head.address)

    agent = AgentProcess(Place("only-0", "open", "token", pool="only"), locate)
    writer = WriterProcess(Place("writer-0", "open", "token"), locate)
    async with asyncio.timeout(60):
        besides = [meanwhile(head)] if meanwhile is not None else []
        await asyncio.gather(agent.run(), writer.run(), life, *besides)
    return life.result()


def _lines(ids: object) -> bytes:
    assert hasattr(ids, "__iter__")
    return b"".join(json.dumps({"id": each, "text": "x"}).encode() + b"\n" for each in ids)


async def test_the_command_hands_rows_to_a_run_and_names_the_lines_that_are_refused(
    tmp_path: Path,
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("weft.cli.injecting.BATCH_ROWS", 2)
    head = HeadProcess(Place("head", "open", "token"), plan, grace=0)
    life = asyncio.create_task(head.run())
    await _running(head)
    runner = web.AppRunner(make_app(_Asked(head), "secret"))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = "http://{}:{}".format(*runner.addresses[0][:2])
    more = tmp_path / "more.jsonl"
    more.write_bytes(_lines(["a", "b", "c", "s1"]) + b'{"id": "d"}\n[]\n')
    try:
        with announced(RunFile("open", "out", address, "secret", os.getpid())):
            assert (tmp_path / "weft").stat().st_mode & 0o777 == 0o700
            (file,) = (tmp_path / "weft").iterdir()
            assert file.stat().st_mode & 0o777 == 0o600
            with pytest.raises(Refused) as caught:
                await asyncio.to_thread(inject, (str(more),), None, None, 3, "45s")
        assert caught.value.lines == [f"{more}:6: no JSON object; write one object a line"]
        told = capsys.readouterr().out.splitlines()
        assert told[0] == "3 rows are kept and will be made by open"
        assert told[1] == "known already, so not taken again: 1 (s1)"
        assert head.status().rows.total == 23
        run = RunFile("open", "out", address, "secret", os.getpid())
        with announced(run), pytest.raises(Refused) as caught:
            await asyncio.to_thread(inject, (str(more),), None, None, 3, "soon")
        assert caught.value.lines == [
            "deadline: 'soon' is no duration; write one such as 500ms, 5s or 1h30m"
        ]
    finally:
        await runner.cleanup()
        head.stop()
        await life


class _Asked:
    """The head as the control API asks it, without Ray between them."""

    up = True

    def __init__(self, head: HeadProcess) -> None:
        self._head = head

    async def status(self) -> Status | None:
        return self._head.status()

    async def plan(self) -> str:
        return self._head.plan.to_json()

    async def update(self, plan_json: str) -> str:
        raise NotImplementedError

    async def drain(self) -> None:
        self._head.drain()

    async def inject(self, rows: bytes, priority: int | None, within: float | None) -> bytes | str:
        try:
            return msgspec.json.encode(await self._head.inject(rows, priority, within))
        except BadRows as error:
            return str(error)
