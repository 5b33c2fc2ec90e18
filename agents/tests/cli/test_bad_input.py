"""Bad input, as a table: each case is one clear line that names the file, the field, the fault and
what to do; exit code 2; nothing is started, and nothing is lost."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import good_manifests
import pytest
from conftest import Weft, weft_process

P, Q, R = "pipeline.yaml", "pools.yaml", "rows.jsonl"


@dataclass(frozen=True)
class Case:
    """Good manifests with one thing spoilt, and what the line has to say."""

    name: str
    says: tuple[str, ...]
    edits: tuple[tuple[str, str, str], ...] = ()
    """(file, what stands there, what stands there instead)."""
    files: dict[str, str | bytes] = field(default_factory=dict)
    """Files that are written whole."""
    args: tuple[str, ...] = ("FOLDER",)
    """FOLDER stands for the manifests' folder, CLOSED for a port that nobody listens on, and
    ENDPOINT for an endpoint with the model `fake` that asks for the key `secret`."""
    lines: int = 1


CASES = [
    # YAML and the form of manifests
    Case("YAML that does not parse", (P + ":5", "YAML"), ((P, "name: answers", "name: [answers"),)),
    Case("a tab in YAML", (P + ":4", "tab"), ((P, "  name: answers", "\tname: answers"),)),
    Case(
        "a key that is there twice",
        (P, "maxHops"),
        ((P, "    maxHops: 16\n", "    maxHops: 16\n    maxHops: 17\n"),),
    ),
    Case("text that is no UTF-8", (P + ":1", "UTF-8"), files={P: b"\xff\xfe\x00"}),
    Case("a manifest that is a list", (P + ":1", "object"), files={P: "- a\n- b\n"}),
    Case("no kind", (P, "kind", "missing"), ((P, "kind: SyntheticPipeline\n", ""),)),
    Case(
        "an unknown kind",
        (P + ":2", "kind", 'did you mean "SyntheticPipeline"?'),
        ((P, "SyntheticPipeline", "SyntheticPipelin"),),
    ),
    Case(
        "an unknown version",
        (P + ":1", "apiVersion", "weft.dev/v1alpha1"),
        ((P, "v1alpha1", "v2"),),
    ),
    Case(
        "an unknown field",
        (P + ":14", "spec.flow.maxHop", 'did you mean "maxHops"?'),
        ((P, "maxHops", "maxHop"),),
    ),
    Case(
        "a field that is missing",
        (P, "spec.output", "missing"),
        ((P, "  output:\n    uri: out\n", ""),),
    ),
    Case("a wrong type", (Q + ":24", "spec.replicas"), ((Q, "replicas: 1", 'replicas: "1"'),)),
    Case("a number too small", (P + ":14", "spec.flow.maxHops"), ((P, "16", "0"),)),
    Case(
        "a duration without a unit",
        (P, "spec.output.commitInterval"),
        ((P, "    uri: out\n", "    uri: out\n    commitInterval: 5\n"),),
    ),
    Case("a path that is not there", ("nowhere", "does not exist"), args=("nowhere",)),
    Case("a folder without manifests", ("has no manifests",), args=("FOLDER/empty",)),
    Case("no pipeline", ("no SyntheticPipeline", "add one"), args=("FOLDER/pools.yaml",)),
    Case(
        "two pipelines and none chosen",
        ("several pipelines", "choose one"),
        files={"other.yaml": good_manifests.PIPELINE.replace("name: answers", "name: others")},
    ),
    Case(
        "a pipeline that is not there",
        ('"answer" does not exist', 'did you mean "answers"?'),
        args=("FOLDER", "--pipeline", "answer"),
    ),
    Case(
        "two pools of one name",
        (Q + ":17", "metadata.name", "there already", Q + ":4"),
        ((Q, "name: judge", "name: draft"),),
    ),
    # the flow
    Case(
        "a step that no pool serves",
        (P, "spec.flow.steps[1].name", 'no AgentPool serves step "judge"', "add an AgentPool"),
        files={Q: good_manifests.POOLS.partition("---")[0]},
    ),
    Case(
        "a pool for a step that is not there",
        (Q + ":17", 'step "judges"', 'did you mean "judge"?'),
        ((Q, "name: judge", "name: judges"),),
    ),
    Case(
        "a pool of another pipeline",
        (Q + ":6", "spec.pipelineRef.name", '"answer" does not exist', "answers"),
        (
            (
                Q,
                "answers}\n  agent: weft.builtin:ChatAgent",
                "answer}\n  agent: weft.builtin:ChatAgent",
            ),
        ),
    ),
    Case(
        "a way to a step that is not there",
        (P + ":18", "spec.flow.steps[0].next[0].to", 'step "judg"', 'did you mean "judge"?'),
        ((P, "{to: judge}", "{to: judg}"),),
    ),
    Case(
        "a cycle without an end",
        (P, "can never end", "they only go round draft, judge"),
        (
            (P, "{to: $reject, when", "{to: draft, when"),
            (P, "      - {to: $accept}\n", "      - {to: draft}\n"),
        ),
    ),
    Case(
        "conditions on all ways out",
        (P, "conditions on all its ways out", "add a last way without"),
        ((P, "      - {to: $accept}\n", ""),),
    ),
    Case(
        "an entry that is not there",
        (P + ":13", "spec.flow.entry", 'did you mean "draft"?'),
        ((P, "entry: draft", "entry: drafter"),),
    ),
    Case(
        "CEL that does not compile",
        (P + ":21", "spec.flow.steps[1].next[0].when"),
        ((P, "== 'revise'", "=== 'revise'"),),
    ),
    Case(
        "CEL that names what no row has",
        (P + ":21", "spec.flow.steps[1].next[0].when", 'did you mean "verdict"?'),
        ((P, "row.verdict == 'revise'", "row.verdit == 'revise'"),),
    ),
    Case(
        "CEL that gives no boolean",
        (P + ":21", "spec.flow.steps[1].next[0].when"),
        ((P, "row.verdict == 'revise'", "'revise'"),),
    ),
    Case(
        "a priority that is no number",
        (P, "spec.source.priority"),
        ((P, "  source:\n", '  source:\n    priority: "1 + true"\n'),),
    ),
    # prompts, tools and agents
    Case(
        "a prompt that is not defined",
        (Q + ":9", "spec.config.prompt", 'prompt "aks" is not defined'),
        ((Q, "prompt: ask", "prompt: aks"),),
    ),
    Case(
        "a template that does not compile",
        (P + ":26", "spec.prompts[0].text", "line 1"),
        ((P, "{{ row.question }}", "{{ row.question }"),),
    ),
    Case(
        "a template that names a column which is not there",
        (P + ":26", "spec.prompts[0].text", "row.qestion", 'did you mean "question"?'),
        ((P, "row.question", "row.qestion"),),
    ),
    Case(
        "a tool that is not defined",
        (Q + ":10", "spec.config.tools[0]", 'tool "sum" is not defined'),
        ((Q, "tools: []", "tools: [sum]"),),
    ),
    Case(
        "a tool's function that is not there",
        (P, "spec.tools[0].python", "has no `addd`", 'did you mean "add"?'),
        ((P, "answers_tools:add", "answers_tools:addd"),),
    ),
    Case(
        "an agent's module that is not there",
        (Q + ":7", "spec.agent", "there is no module `answers_nowhere`", "install the package"),
        ((Q, "weft.builtin:ChatAgent", "answers_nowhere:Chat"),),
    ),
    Case(
        "an agent's class that is not there",
        (Q + ":7", "spec.agent", "has no `ChatAgnt`", 'did you mean "ChatAgent"?'),
        ((Q, "weft.builtin:ChatAgent", "weft.builtin:ChatAgnt"),),
    ),
    Case(
        "an agent's class that is no Agent",
        (Q + ":7", "spec.agent", "is not an Agent", "derive the class from weft.Agent"),
        ((Q, "weft.builtin:ChatAgent", "answers_agents:Chat"),),
        {"answers_agents.py": "class Chat: pass\n"},
    ),
    Case(
        "an agent without handle",
        (Q + ":7", "spec.agent", "has no `handle`", "async def handle"),
        ((Q, "weft.builtin:ChatAgent", "answers_agents:Chat"),),
        {"answers_agents.py": "import weft\nclass Chat(weft.Agent): pass\n"},
    ),
    Case(
        "an agent whose handle is not async",
        (Q + ":7", "spec.agent", "`handle` is not async", "async def handle"),
        ((Q, "weft.builtin:ChatAgent", "answers_agents:Chat"),),
        {
            "answers_agents.py": "import weft\nclass Chat(weft.Agent):\n"
            "  def handle(self, row, ctx): pass\n"
        },
    ),
    Case(
        "an agent's module that fails",
        (Q + ":7", "spec.agent", "importing `answers_agents` failed: ZeroDivisionError"),
        ((Q, "weft.builtin:ChatAgent", "answers_agents:Chat"),),
        {"answers_agents.py": "1 / 0\n"},
    ),
    Case(
        "a setting that the agent does not have",
        (Q + ":9", "spec.config.promt", "has no such setting", 'did you mean "prompt"?'),
        ((Q, "prompt: ask", "promt: ask"), (P, "name: ask", "name: draft")),
    ),
    Case(
        "a setting of a wrong value",
        (Q + ":23", "spec.config.checks[0].length.min", "greater than or equal to 0"),
        ((Q, "{min: 1}", "{min: -1}"),),
    ),
    Case(
        "nobody at a step",
        (Q + ":24", "spec.replicas", "0 replicas", "set replicas to 1"),
        ((Q, "replicas: 1", "replicas: 0"),),
    ),
    # the source
    Case(
        "a source that is not there",
        (P + ":8", "spec.source.dataset.uri", "no such file"),
        ((P, "uri: rows.jsonl", "uri: row.jsonl"),),
    ),
    Case(
        "a source of an unknown format",
        (P + ":8", "spec.source.dataset.uri", "set format to jsonl"),
        ((P, "uri: rows.jsonl", "uri: rows.txt"),),
        {"rows.txt": good_manifests.rows(2)},
    ),
    Case("an empty source", (P + ":8", R, "holds no rows"), files={R: "\n\n"}),
    Case(
        "a source without its id column",
        (P + ":9", "spec.source.dataset.idField", "no column 'key'", "id, question"),
        ((P, "idField: id", "idField: key"),),
    ),
    Case(
        "a source that is one JSON array",
        (P + ":8", R, "holds a JSON array", "jq -c"),
        files={R: '[{"id": 1}, {"id": 2}]'},
    ),
    Case("a source in UTF-16", (P + ":8", R, "UTF-16"), files={R: '{"id": 1}'.encode("utf-16")}),
    Case(
        "a Parquet file that is none",
        (P + ":8", "rows.parquet"),
        ((P, "uri: rows.jsonl", "uri: rows.parquet"),),
        {"rows.parquet": "hello"},
    ),
    # the output
    Case(
        "an output that cannot be written",
        (P + ":11", "spec.output.uri", "cannot be written to"),
        ((P, "uri: out", "uri: rows.jsonl/out"),),
    ),
    Case(
        "an output by flag that cannot be written",
        ("--output", "cannot be written to"),
        args=("FOLDER", "--output", "FOLDER/rows.jsonl/out"),
    ),
    Case(
        "an output where something else lies",
        (P + ":11", "spec.output.uri", "holds something else (thesis.txt)", "empty folder"),
        files={"out/thesis.txt": "years of work"},
    ),
    Case(
        "an output where the source lies",
        (P + ":11", "spec.output.uri", "where the source is"),
        ((P, "uri: out", "uri: rows.jsonl"),),
    ),
    # the engines
    Case(
        "two engines",
        (Q, "spec.engine", "exactly one of"),
        ((Q, "    simulator:", "    vllm: {model: m}\n    simulator:"),),
    ),
    Case(
        "an endpoint that is down",
        (Q + ":12", "spec.engine.openai.baseURL", "nothing answers at http://127.0.0.1:"),
        (
            (
                Q,
                "simulator: {latency: {median: 5ms}}",
                "openai: {baseURL: 'http://127.0.0.1:CLOSED/v1', model: m}",
            ),
        ),
    ),
    Case(
        "an endpoint's key that is not set",
        (Q + ":12", "spec.engine.openai.apiKeySecretRef", "ANSWERS_API_KEY", "is set"),
        (
            (
                Q,
                "simulator: {latency: {median: 5ms}}",
                "openai: {baseURL: 'ENDPOINT', model: fake, apiKeySecretRef: {name: answers}}",
            ),
        ),
    ),
    Case(
        "an endpoint that asks for a key",
        ("--engine", "asks for an API key", "WEFT_ENGINE_API_KEY"),
        args=("FOLDER", "--engine", "openai", "--base-url", "ENDPOINT", "--model", "fake"),
    ),
    Case(
        "a key that the endpoint refuses",
        ("--engine", "refused the API key"),
        args=(
            *("FOLDER", "--engine", "openai", "--base-url", "ENDPOINT", "--model", "fake"),
            *("--api-key-env", "USER_KEY"),
        ),
    ),
    Case(
        "a key's variable that is not set",
        ("--api-key-env", "NO_SUCH_KEY is not set", "export NO_SUCH_KEY"),
        args=(
            *("FOLDER", "--engine", "openai", "--base-url", "ENDPOINT", "--model", "fake"),
            *("--api-key-env", "NO_SUCH_KEY"),
        ),
    ),
    Case(
        "a model that the endpoint does not have",
        ("--model", "has no model 'fakes'", "fake"),
        args=(
            *("FOLDER", "--engine", "openai", "--base-url", "ENDPOINT", "--model", "fakes"),
            *("--api-key-env", "RIGHT_KEY"),
        ),
    ),
    Case(
        "an address that is none",
        ("--base-url", "cannot be used", "http://127.0.0.1:8000/v1"),
        args=("FOLDER", "--engine", "openai", "--base-url", "localhost", "--model", "m"),
    ),
    Case(
        "an engine without a model",
        ("run", "needs --model"),
        args=("FOLDER", "--engine", "openai"),
    ),
    Case(
        "a model without an engine",
        ("run", "belong to --engine"),
        args=("FOLDER", "--model", "m"),
    ),
    Case(
        "vLLM that is not installed",
        ("--engine", "vLLM is not installed", "pip install"),
        args=("FOLDER", "--engine", "vllm", "--model", "m"),
    ),
    Case(
        "an argument of vLLM's for another engine",
        ("run", "--vllm-arg belongs to --engine vllm"),
        args=("FOLDER", "--engine", "simulator", "--vllm-arg", "max_model_len=8192"),
    ),
    Case(
        "an argument of vLLM's without a value",
        ("--vllm-arg", "'max_model_len' is not NAME=VALUE", "max_model_len=8192"),
        args=("FOLDER", "--engine", "vllm", "--model", "m", "--vllm-arg", "max_model_len"),
    ),
    # the command line
    Case("no path", ("run", "Missing argument", "weft run --help"), args=()),
    Case("an unknown option", ("run", "--quick", "weft run --help"), args=("FOLDER", "--quick")),
    Case("a limit of none", ("run", "--limit", "x>=1"), args=("FOLDER", "--limit", "0")),
    # several at once
    Case(
        "three faults in three files",
        (P + ":21", "row.verdit", Q + ":9", '"aks"', R, "holds no rows"),
        ((P, "row.verdict == 'revise'", "row.verdit ="), (Q, "prompt: ask", "prompt: aks")),
        {R: ""},
        lines=3,
    ),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An OpenAI-compatible endpoint with the model `fake`, which asks for the key `secret`."""
    command = [sys.executable, "-m", "weft.engines.fake_endpoint", "--api-key", "secret"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def closed() -> Iterator[int]:
    """A port that is taken, and where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_told_in_one_line_before_anything_starts(
    case: Case,
    tmp_path: Path,
    weft: Weft,
    endpoint: str,
    closed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def filled(text: str) -> str:
        known = {"FOLDER": str(tmp_path), "CLOSED": str(closed), "ENDPOINT": endpoint}
        for name, value in known.items():
            text = text.replace(name, value)
        return text

    good_manifests.write(tmp_path)
    (tmp_path / "empty").mkdir()
    for file, old, new in case.edits:
        text = (tmp_path / file).read_text()
        assert text.count(old) == 1, (file, old)
        (tmp_path / file).write_text(text.replace(old, filled(new)))
    for file, content in case.files.items():
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setenv("RIGHT_KEY", "secret")
    monkeypatch.setenv("USER_KEY", base64.b64encode(b"wrong").decode())

    def started(*_: object) -> None:
        pytest.fail("the run was started")

    monkeypatch.setattr("weft.cli.running._drive", started)

    result = weft("run", *map(filled, case.args))

    assert result.code == 2
    assert len(result.lines) == case.lines, result.err
    for wanted in case.says:
        assert wanted in result.err
    for line in result.lines:
        assert ": " in line
        assert "; " in line, f"does not say what to do: {line}"
        assert len(line) < 500
    assert "Traceback" not in result.err
    assert result.out == ""
    assert {path: path.read_bytes() for path in before} == before


def test_a_person_sees_one_line_and_no_traceback(tmp_path: Path) -> None:
    good_manifests.write(tmp_path)
    (tmp_path / R).unlink()
    result = weft_process("run", tmp_path)
    assert result.code == 2
    [line] = result.lines
    assert "no such file or folder" in line
