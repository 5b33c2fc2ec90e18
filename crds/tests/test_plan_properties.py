"""Whatever the CRDs' schemas let in either compiles or gives faults, and never anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from weft_api import patterns
from weft_api.errors import ManifestErrors
from weft_api.expressions import fields_used, problem_of
from weft_api.generate import crds
from weft_api.parse import parse_pipeline, parse_pool
from weft_api.plan import Known, Plan, compile_plan
from weft_api.yaml_lines import YamlError, read_documents

PIPELINE, POOL = (
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] for crd in crds()
)
NAMES = st.sampled_from(["a", "b", "c"])
CEL = st.sampled_from(
    ["row.a == 'x'", "has(row.b)", "row.a =", "b", "row.c + 1", "row['a'] == 1", "f(row)", "true"]
)
SAMPLES = {
    patterns.LABEL: ["a", "b", "c"],
    patterns.TARGET: ["a", "b", "c", "$accept", "$reject"],
    patterns.SUBDOMAIN: ["a", "b.c-1"],
    patterns.PYTHON_PATH: ["m:A", "m.n:f"],
    patterns.DATA_KEY: ["api-key", "k.e_y"],
    patterns.SCOPE: ["a", "b", "c", "$source"],
    patterns.ENTITY: ["EMAIL_ADDRESS", "PERSON"],
    patterns.LANGUAGE: ["en"],
    patterns.COUNTRY: ["US"],
    patterns.HEADER: ["Authorization"],
    patterns.TOOL: ["a", "b", "A_1"],
    patterns.VARIABLE: ["A", "b_1"],
    patterns.URL: ["http://h:1/v1", "https://h"],
    patterns.RELEASE: ["2.60.0"],
    patterns.LABEL_VALUE: ["NVIDIA-H100-80GB-HBM3", "a"],
    patterns.DURATION: ["3ms", "5s", "1.5h", "1m30s", "200ms"],
    patterns.QUANTITY: ["0.5", "500m", "80Gi", "1E"],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("abå\n"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab"), inner, max_size=2),
    max_leaves=4,
)
CONFIG = st.fixed_dictionaries(
    {}, optional={"prompt": NAMES | JSON, "tools": st.lists(NAMES), "x": JSON}
)


def values(schema: dict[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """Values that the schema lets in, with names drawn from few so that some fit together."""
    asked = [
        rule["rule"].removeprefix("self.matches(r'").removesuffix("')")
        for rule in schema.get("x-kubernetes-validations", [])
        if rule["rule"].startswith("self.matches(r")
    ]
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(0, 99) | st.sampled_from(SAMPLES[schema["pattern"]])
    if name == "config":
        return CONFIG
    if name in ("when", "priority", "deadline"):
        return CEL
    if name == "uri":
        return st.sampled_from(["/data/a.jsonl", "/data/b", "s3://c/d.csv", "relative"])
    match schema["type"]:
        case "string" if asked:
            return st.sampled_from(SAMPLES[asked[0]])
        case "string":
            return st.text("ab ", min_size=schema.get("minLength", 0), max_size=4)
        case "integer":
            return st.integers(schema.get("minimum", -9), min(schema.get("maximum", 9), 99))
        case "number":
            return st.floats(schema["minimum"], schema["maximum"])
        case "boolean":
            return st.booleans()
        case "array":
            least = schema.get("minItems", 0)
            return st.lists(values(schema["items"]), min_size=least, max_size=max(least, 3))
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return st.dictionaries(st.text("ab"), JSON, max_size=2)
    if "additionalProperties" in schema:
        return st.dictionaries(st.text("ab"), values(schema["additionalProperties"]), max_size=2)
    fields = {key: values(inner, key) for key, inner in schema.get("properties", {}).items()}
    required = schema.get("required", [])
    return st.fixed_dictionaries(
        {key: value for key, value in fields.items() if key in required},
        optional={key: value for key, value in fields.items() if key not in required},
    )


def resources(kind: str, name: str, spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def judged(
    spec: dict[str, Any], pools: list[tuple[str, dict[str, Any]]], known: Known | None
) -> tuple[Plan | None, list[str]]:
    """The Plan, or the faults."""
    try:
        plan = compile_plan(
            parse_pipeline(resources("SyntheticPipeline", "a", spec)),
            [parse_pool(resources("AgentPool", name, pool)) for name, pool in pools],
            known=known,
        )
    except ManifestErrors as errors:
        event("faults")
        return None, [str(error) for error in errors.errors]
    event("compiles")
    return plan, []


KNOWN = st.none() | st.builds(
    Known,
    columns=st.none() | st.frozensets(st.sampled_from("abc")),
    fields=st.dictionaries(NAMES, st.frozensets(st.sampled_from("abc"))),
    configs=st.dictionaries(NAMES, CONFIG),
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(values(PIPELINE), st.lists(st.tuples(NAMES, values(POOL)), max_size=3), KNOWN)
def test_any_manifests_compile_or_give_faults(
    spec: dict[str, Any], pools: list[tuple[str, dict[str, Any]]], known: Known | None
) -> None:
    plan, faults = judged(spec, pools, known)
    assert (plan is None) == bool(faults)
    assert all("\n" not in line for line in faults)
    assert plan is None or Plan.from_json(plan.to_json()) == plan


EDGES = st.fixed_dictionaries({"to": st.sampled_from(["a", "b", "c", "$accept", "$reject"])})
FLOWS = st.fixed_dictionaries(
    {"a": st.lists(EDGES, min_size=1, max_size=3)},
    optional={name: st.lists(EDGES, min_size=1, max_size=3) for name in "bc"},
)
ENGINES = st.one_of(
    [
        st.fixed_dictionaries({kind: values(schema)})
        for kind, schema in POOL["properties"]["engine"]["properties"].items()
    ]
)
NAMING = st.fixed_dictionaries(
    {}, optional={"prompt": NAMES, "judgePrompt": NAMES, "tools": st.lists(NAMES), "x": JSON}
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FLOWS, ENGINES, NAMING)
def test_a_flow_compiles_exactly_when_every_row_can_end(
    flow: dict[str, list[dict[str, str]]], engine: dict[str, Any], config: dict[str, Any]
) -> None:
    spec = {
        "source": {"generate": {"rows": 1}},
        "output": {"uri": "/data"},
        "flow": {
            "entry": "a",
            "steps": [{"name": name, "next": edges} for name, edges in flow.items()],
        },
        "prompts": [{"name": name, "text": "x"} for name in "abc"],
        "tools": [{"name": name, "description": "x", "python": "tools:f"} for name in "abc"],
    }
    pool = {"pipelineRef": {"name": "a"}, "agent": "m:A", "engine": engine, "config": config}
    plan, faults = judged(spec, [(name, pool) for name in flow], None)
    assert (plan is not None) == _sound(flow), faults
    assert plan is None or Plan.from_json(plan.to_json()) == plan


def _sound(flow: dict[str, list[dict[str, str]]]) -> bool:
    """By walking: all targets exist, all steps are met from `a`, all can end."""

    def met(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += [edge["to"] for edge in flow.get(name, [])]
        return seen

    ends = {"$accept", "$reject"}
    exist = met("a") - ends <= flow.keys() and all(met(n) - ends <= flow.keys() for n in flow)
    return exist and flow.keys() <= met("a") and all(met(name) & ends for name in flow)


@settings(max_examples=500, deadline=None)
@given(st.text("row.ab'\"()[]{}=<>!&|?:+-1 \\\n/é", min_size=1, max_size=40))
def test_any_text_as_a_condition_is_judged(text: str) -> None:
    problem = problem_of(text, known=frozenset({"a"}))
    fields_used(text)
    assert problem is None or (problem.problem and problem.fix and "\n" not in problem.problem)


@settings(max_examples=500, deadline=None)
@given(st.text("a:- {}[]&*!|>'\"%@`\n\t#,?0é\x00", max_size=60))
def test_any_text_as_yaml_is_read_or_refused(text: str) -> None:
    line, problem = _read(text)
    assert 1 <= line <= text.count("\n") + 2
    assert "\n" not in problem


def _read(text: str) -> tuple[int, str]:
    try:
        return max((document.line(()) for document in read_documents(text)), default=1), ""
    except YamlError as error:
        return error.line, error.problem


def test_a_control_character_is_named_by_its_line() -> None:
    assert _read("a: 1\nb: \x00")[0] == 2


@pytest.mark.parametrize("depth", [50, 1000])
def test_deep_nesting_is_refused_and_harmless(depth: int) -> None:
    assert problem_of("(" * depth + "row.a" + ")" * depth) is None or depth > 50
    with pytest.raises(YamlError, match="nested too deeply"):
        list(read_documents("[" * 3 * depth + "]" * 3 * depth))


def test_aliases_that_multiply_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(YamlError, match="too many values"):
        list(read_documents("\n".join(lines)))
