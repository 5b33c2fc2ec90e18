"""OpenLineage events of whole runs, taken by a real HTTP server that holds each against the models
of OpenLineage's own client."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import typing
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attr
import jsonschema
import pytest
from aiohttp import web
from deltalake import DeltaTable
from openlineage.client import facet_v2
from openlineage.client.event_v2 import RunEvent
from openlineage.client.generated import base

from weft.runtime.agent import AgentProcess
from weft.runtime.head import HeadProcess
from weft.runtime.lineage import emitter
from weft.runtime.lineage.events import WeftRunFacet, name_of
from weft.runtime.process import Place
from weft.runtime.status import Status
from weft.runtime.writer import WriterProcess
from weft_api.load import load
from weft_api.plan import Plan

DOCS = Path(__file__).parents[3] / "docs"

MANIFESTS = """
apiVersion: weft.dev/v1alpha1
kind: SyntheticPipeline
metadata: {{name: told}}
spec:
  source: {{dataset: {{uri: rows.jsonl, idField: id}}}}
  output: {{uri: ./out, commitInterval: 100ms{output}}}
  delivery: {{inFlightRows: 4}}
  lineage: {{openLineage: {{url: "{url}", namespace: team-a, apiKeySecretRef: {{name: lineage}}}}}}
  prompts: [{{name: ask, text: "{{{{ row.text }}}}?"}}]
  flow:
    entry: only
    steps:
    - {{name: only, next: [{{to: $reject, when: "row.bad"}}, {{to: $accept}}]}}
---
apiVersion: weft.dev/v1alpha1
kind: AgentPool
metadata: {{name: only}}
spec:
  pipelineRef: {{name: told}}
  agent: "weft.builtin:ChatAgent"
  config: {{prompt: ask}}
  concurrency: 4
  engine: {{simulator: {{latency: {{median: 10ms}}}}}}
"""


class Receiver:
    """Answers with `status`; keeps the events that it has taken."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.status = 201
        self.asked = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.asked += 1
        if request.headers.get("Authorization") != "Bearer s3cret":
            return web.Response(status=401)
        if self.status == 201:
            event = await request.json()
            self.faults += faults(event, RunEvent, "event")
            self.events.append(event)
        return web.Response(status=self.status)

    @property
    def states(self) -> list[str]:
        return [event["eventType"] for event in self.events]


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    monkeypatch.setenv("LINEAGE_API_KEY", "s3cret")
    taken = Receiver()
    app = web.Application()
    app.add_routes([web.post("/prefix/api/v1/lineage", taken.take)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    taken.url = "http://{}:{}/prefix".format(*runner.addresses[0][:2])
    yield taken
    await runner.cleanup()
    assert taken.faults == []


async def test_a_run_is_told_from_its_start_to_its_end(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emitter, "RUNNING_EVERY", 0.2)
    plan = _plan(tmp_path, receiver.url)
    status = await _to_its_end(plan)
    assert status.phase == "Succeeded"
    states = receiver.states
    assert (states[0], states[-1]) == ("START", "COMPLETE")
    assert set(states[1:-1]) == {"RUNNING"}
    assert len({event["run"]["runId"] for event in receiver.events}) == 1
    last = receiver.events[-1]
    assert (last["job"]["namespace"], last["job"]["name"]) == ("team-a", "told")
    (source,) = last["inputs"]
    assert (source["namespace"], source["name"]) == ("file", str(tmp_path / "rows.jsonl"))
    assert [each["name"] for each in source["facets"]["schema"]["fields"]] == ["bad", "id", "text"]
    (output,) = last["outputs"]
    table = DeltaTable(tmp_path / "out")
    assert output["name"] == str(tmp_path / "out")
    assert output["facets"]["version"]["datasetVersion"] == str(table.version())
    assert [each["name"] for each in output["facets"]["schema"]["fields"]] == [
        field.name for field in table.schema().fields
    ]
    sizes = table.get_add_actions(flatten=True)["size_bytes"].to_pylist()
    statistics = output["outputFacets"]["outputStatistics"]
    assert statistics["rowCount"] == 60
    assert (statistics["size"], statistics["fileCount"]) == (sum(sizes), len(sizes))
    weft = last["run"]["facets"]["weft"]
    schema = json.loads((DOCS / "schemas/1-0-0/WeftRunFacet.json").read_text())
    assert weft["_schemaURL"] == f"{schema['$id']}#/$defs/WeftRunFacet"
    facet = schema["$defs"]["WeftRunFacet"]
    del facet["allOf"]  # OpenLineage's own part lies elsewhere, and is checked by its models.
    jsonschema.validate(weft, facet)
    assert weft["rows"] == {
        "accepted": 50, "rejected": 10, "dead": 0, "inFlight": 0, "resumed": 0,
    }  # fmt: skip
    assert weft["models"] == ["simulator"]
    assert weft["prompts"] == [{"name": "ask", "version": plan.prompts[0].version}]
    assert weft["tokens"]["completion"] == status.tokens.completion > 0


async def test_a_head_that_comes_after_another_goes_on_with_its_run(
    tmp_path: Path, receiver: Receiver
) -> None:
    plan = _plan(tmp_path, receiver.url)
    head = HeadProcess(Place("head", "told", "token"), plan, grace=0)
    life = asyncio.create_task(head.run())
    await _until(lambda: receiver.states == ["START"])
    life.cancel()  # As it ends where its process is killed: with no word.
    await asyncio.gather(life, return_exceptions=True)
    assert receiver.states == ["START"]

    await _to_its_end(plan)
    assert receiver.states == ["START", "RUNNING", "COMPLETE"]
    assert len({event["run"]["runId"] for event in receiver.events}) == 1

    # What has come to an end is no more; another start is another run, of what it finds to do.
    await _to_its_end(plan)
    assert receiver.states[3:] == ["START", "COMPLETE"]
    assert len({event["run"]["runId"] for event in receiver.events}) == 2
    written = receiver.events[-1]["outputs"][0]["outputFacets"]["outputStatistics"]
    assert written["rowCount"] == 0


async def test_a_run_that_fails_says_why(tmp_path: Path, receiver: Receiver) -> None:
    status = await _to_its_end(_plan(tmp_path, receiver.url, output=", targetRows: 55"))
    assert status.phase == "Failed"
    assert receiver.states == ["START", "FAIL"]
    told = receiver.events[-1]["run"]["facets"]["errorMessage"]["message"]
    assert told.startswith("TargetMissed: output.targetRows: 50 of 55 rows are accepted")


async def test_a_run_whose_source_is_not_there_has_begun_and_failed(
    tmp_path: Path, receiver: Receiver
) -> None:
    plan = _plan(tmp_path, receiver.url)
    (tmp_path / "rows.jsonl").unlink()
    head = HeadProcess(Place("head", "told", "token"), plan, grace=0)
    assert (await head.run()).phase == "Failed"
    assert receiver.states == ["START", "FAIL"]
    assert "rows.jsonl" in receiver.events[-1]["run"]["facets"]["errorMessage"]["message"]


async def test_a_run_that_is_drained_is_aborted(tmp_path: Path, receiver: Receiver) -> None:
    async def drain(head: HeadProcess) -> None:
        await _until(lambda: head.status().rows.accepted > 4)
        head.drain()

    status = await _to_its_end(_plan(tmp_path, receiver.url), meanwhile=drain)
    assert status.phase == "Stopped"
    assert receiver.states == ["START", "ABORT"]
    assert receiver.events[-1]["run"]["facets"]["weft"]["reason"] == "DrainRequested"


async def test_a_receiver_that_is_away_at_first_is_told_of_the_start_later(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.status = 400
    plan = _plan(tmp_path, receiver.url)

    async def mend(head: HeadProcess) -> None:
        await _until(lambda: receiver.asked == 1)
        receiver.status = 201

    await _to_its_end(plan, meanwhile=mend)
    assert receiver.states == ["START", "COMPLETE"]


@pytest.mark.parametrize(
    ("status", "key", "told"),
    [
        (500, "s3cret", "too many 500 error responses"),
        (404, "s3cret", "404 Client Error: Not Found"),
        (201, "wrong", "401 Client Error: Unauthorized"),
        (201, "", "apiKeySecretRef: LINEAGE_API_KEY is not set in the environment"),
    ],
)
async def test_a_receiver_that_takes_nothing_costs_the_run_a_line_and_no_row(
    tmp_path: Path,
    receiver: Receiver,
    status: int,
    key: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.status = status
    monkeypatch.setenv("LINEAGE_API_KEY", key)
    with caplog.at_level(logging.WARNING, "weft.runtime.lineage.emitter"):
        final = await _to_its_end(_plan(tmp_path, receiver.url))
    assert (final.phase, final.rows.accepted) == ("Succeeded", 50)
    lines = [each.message for each in caplog.records if each.name.endswith("lineage.emitter")]
    assert len(set(lines)) == len(lines) == 1 or "does not answer" in lines[-1]
    assert told in lines[0]
    assert lines[0].startswith("spec.lineage.openLineage: ")
    assert "s3cret" not in lines[0]
    # An event is tried three times at most.
    assert receiver.asked <= 6


def test_datasets_are_named_by_openlineages_conventions(tmp_path: Path) -> None:
    assert name_of(str(tmp_path)) == ("file", str(tmp_path))
    assert name_of("s3://bucket/a/b.jsonl") == ("s3://bucket", "a/b.jsonl")
    assert name_of("gs://bucket") == ("gs://bucket", "/")
    assert name_of("https://u:secret@host/a.csv") == ("https://host", "a.csv")
    assert name_of("abfss://box@store/a") == ("abfss://box@store", "a")


FACETS = {
    cls._get_schema(): cls
    for module in vars(facet_v2).values()
    if hasattr(module, "__file__")
    for cls in vars(module).values()
    if isinstance(cls, type) and issubclass(cls, base.BaseFacet)
} | {WeftRunFacet._get_schema(): WeftRunFacet}


def faults(value: Any, cls: type, where: str) -> list[str]:
    """What a part of an event has that its model has not, or lacks; and what its validators say."""
    attr.resolve_types(cls, globalns=vars(typing) | vars(sys.modules[cls.__module__]))
    fields = {field.name: field for field in attr.fields(cls)}
    found = [f"{where}: unknown field {name}" for name in value if name not in fields]
    for name, field in fields.items():
        if name not in value:
            if field.default is attr.NOTHING:
                found.append(f"{where}: lacks {name}")
            continue
        inner = value[name]
        if name in ("facets", "inputFacets", "outputFacets"):
            for key, facet in inner.items():
                kind = FACETS.get(facet["_schemaURL"])
                if kind is None:
                    found.append(f"{where}.{key}: unknown schema {facet['_schemaURL']}")
                else:
                    found += faults(facet, kind, f"{where}.{key}")
            continue
        for kind in _models(field.type):
            for part in inner if isinstance(inner, list) else [inner]:
                found += faults(part, kind, f"{where}.{name}")
        if field.validator is not None:
            field.validator(None, field, inner)
    if "_producer" in fields and not str(value.get("_producer")).startswith("https://"):
        found.append(f"{where}: no producer")
    return found


def _models(kind: Any) -> list[type]:
    """The client's classes in a field's type (`list[X] | None`)."""
    if attr.has(kind):
        return [kind]
    return [each for part in getattr(kind, "__args__", ()) for each in _models(part)]


def test_the_models_find_what_is_wrong_with_an_event() -> None:
    """The measure itself: an event that lacks a field, has one more, or a wrong id."""
    event = {"eventTime": "2026-01-01T00:00:00Z", "run": {"runId": "x"}, "nope": 1}
    with pytest.raises(ValueError, match="badly formed"):
        faults(event, RunEvent, "event")
    event["run"] = {"runId": "0" * 32, "facets": {"a": {"_schemaURL": "b"}}}
    assert faults(event, RunEvent, "event") == [
        "event: unknown field nope",
        "event.run.a: unknown schema b",
        "event: lacks job",
    ]


def _plan(folder: Path, url: str, *, output: str = "") -> Plan:
    rows = [{"id": f"r{n}", "text": f"Number {n}", "bad": n % 6 == 1} for n in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "pipeline.yaml").write_text(MANIFESTS.format(url=url, output=output))
    return load([folder]).compile()


async def _until(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.02)


async def _to_its_end(plan: Plan, *, meanwhile: Any = None) -> Status:
    """The whole pipeline in this process, without Ray."""
    head = HeadProcess(Place("head", "told", "token"), plan, grace=0)
    life = asyncio.create_task(head.run())

    async def locate() -> str:
        return await asyncio.shield(head.address)

    agent = AgentProcess(Place("only-0", "told", "token", pool="only"), locate)
    writer = WriterProcess(Place("writer-0", "told", "token"), locate)
    async with asyncio.timeout(90):
        besides = [meanwhile(head)] if meanwhile is not None else []
        await asyncio.gather(agent.run(), writer.run(), life, *besides)
    return life.result()
