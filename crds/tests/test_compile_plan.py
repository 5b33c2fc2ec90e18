"""Resources become a Plan that holds all that the runtime needs, or a list of faults."""

from __future__ import annotations

from typing import Any

import pytest

from weft_api.errors import ManifestErrors
from weft_api.parse import parse_pipeline, parse_pool
from weft_api.pipeline import SyntheticPipeline
from weft_api.plan import Known, Plan, compile_plan, prompt_version, revision
from weft_api.pool import ROLLED, AgentPool, PoolSpec


def pipeline(**spec: Any) -> SyntheticPipeline:
    base = {
        "source": {"dataset": {"uri": "s3://bucket/tickets.jsonl", "idField": "id"}},
        "output": {"uri": "s3://bucket/support"},
        "flow": {
            "entry": "drafter",
            "steps": [
                {
                    "name": "drafter",
                    "next": [
                        {"to": "drafter", "when": "row.verdict == 'revise' && row.tries < 3"},
                        {"to": "$reject", "when": "row.customer == ''"},
                        {"to": "$accept"},
                    ],
                }
            ],
        },
        "prompts": [
            {"name": "draft", "text": "Help {{ row.customer }}."},
            {"name": "judge", "configMapKeyRef": {"name": "prompts", "key": "judge"}},
        ],
    }
    obj = {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "SyntheticPipeline",
        "metadata": {"name": "support", "namespace": "team", "uid": "u-1", "generation": 4},
        "spec": {**base, **spec},
        "status": {"whatever": "an older release has written"},
    }
    return parse_pipeline(obj)


def pool(name: str = "drafter", **spec: Any) -> AgentPool:
    base = {"pipelineRef": {"name": "support"}, "agent": "weft.builtin:ChatAgent"}
    obj = {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "AgentPool",
        "metadata": {"name": name, "managedFields": []},
        "spec": {**base, **spec},
    }
    return parse_pool(obj)


TEXTS = {"judge": "Judge it."}
KNOWN = Known(
    columns=frozenset({"id", "customer"}), fields={"drafter": frozenset({"verdict", "tries"})}
)


def faults(*args: Any, **kwargs: Any) -> list[str]:
    with pytest.raises(ManifestErrors) as caught:
        compile_plan(*args, **kwargs)
    return [str(error) for error in caught.value.errors]


def test_a_plan_holds_what_the_manifests_say_in_plain_units() -> None:
    engine = {"openai": {"baseURL": "http://h/v1", "model": "m", "apiKeySecretRef": {"name": "x"}}}
    plan = compile_plan(
        pipeline(
            storage={"secretRef": {"name": "bucket"}},
            delivery={"inFlightBytes": "1Gi", "lease": "1m30s"},
            seed=7,
        ),
        [pool(engine=engine, replicas=3, config={"prompt": "draft"}, gpu={"memory": "80Gi"})],
        generation=9,
        prompt_texts=TEXTS,
        known=KNOWN,
    )
    assert (plan.generation, plan.namespace, plan.pipeline, plan.uid) == (
        9,
        "team",
        "support",
        "u-1",
    )
    assert plan.source.dataset is not None
    assert plan.source.dataset.format == "jsonl"
    assert plan.source.dataset.id_field == "id"
    assert plan.output.commit_interval == 5.0
    assert plan.delivery.in_flight_bytes == 1 << 30
    assert plan.delivery.lease_seconds == 90.0
    assert plan.delivery.handler_timeout_seconds == 600.0
    assert plan.storage_secret == "bucket"
    assert plan.seed == 7
    assert [(p.name, p.text) for p in plan.prompts] == [
        ("draft", "Help {{ row.customer }}."),
        ("judge", "Judge it."),
    ]
    assert plan.prompts[1].version == prompt_version("Judge it.")
    assert len(plan.prompts[1].version) == 12
    (only,) = plan.pools_of("drafter")
    assert only is plan.pool("drafter")
    assert only.engine is not None
    assert only.engine.kind == "openai"
    assert only.engine.openai is not None
    assert only.engine.openai.api_key_secret_ref is not None
    assert only.engine.openai.api_key_secret_ref.variable == "X_API_KEY"
    assert only.replicas == 3
    assert only.gpu is not None
    assert only.gpu.memory is not None
    assert only.gpu.memory.bytes == 80 << 30
    assert Plan.from_json(plan.to_json()) == plan


def test_json_names_are_camel_case() -> None:
    text = compile_plan(pipeline(), [pool()], prompt_texts=TEXTS).to_json()
    assert '"maxHops":64' in text
    assert "max_hops" not in text


def test_the_digest_changes_with_the_content_and_not_with_the_generation() -> None:
    first = compile_plan(pipeline(), [pool()], prompt_texts=TEXTS, generation=1)
    again = compile_plan(pipeline(), [pool()], prompt_texts=TEXTS, generation=2)
    other = compile_plan(pipeline(), [pool()], prompt_texts={"judge": "Judge."}, generation=1)
    assert first.digest() == again.digest() != other.digest()


def test_several_pools_may_serve_one_step() -> None:
    plan = compile_plan(
        pipeline(),
        [pool("small", step="drafter"), pool("large", step="drafter")],
        prompt_texts=TEXTS,
    )
    assert [item.name for item in plan.pools_of("drafter")] == ["large", "small"]


def test_conditions_may_name_columns_fields_and_what_every_row_has() -> None:
    compile_plan(pipeline(), [pool()], known=KNOWN, prompt_texts=TEXTS)


def test_a_condition_that_names_what_no_row_has_is_refused() -> None:
    known = Known(columns=KNOWN.columns, fields={"drafter": frozenset({"verdicts", "tries"})})
    assert faults(pipeline(), [pool()], known=known, prompt_texts=TEXTS) == [
        "SyntheticPipeline support: spec.flow.steps[0].next[0].when: "
        'no row has "verdict"; did you mean "verdicts"?'
    ]


@pytest.mark.parametrize(
    "known", [None, Known(), Known(columns=frozenset()), Known(fields=KNOWN.fields)]
)
def test_names_are_not_judged_while_something_is_unknown(known: Known | None) -> None:
    compile_plan(pipeline(), [pool()], known=known, prompt_texts=TEXTS)


def test_a_priority_sees_columns_only() -> None:
    source = {"dataset": {"uri": "/a.csv"}, "priority": "row.tries"}
    assert faults(pipeline(source=source), [pool()], known=KNOWN, prompt_texts=TEXTS) == [
        'SyntheticPipeline support: spec.source.priority: no row has "tries"; '
        "there are customer, id"
    ]


def test_a_deadline_sees_columns_only_and_is_no_number() -> None:
    source = {"dataset": {"uri": "/a.csv"}, "deadline": "duration(row.sla)"}
    assert faults(pipeline(source=source), [pool()], known=KNOWN, prompt_texts=TEXTS) == [
        'SyntheticPipeline support: spec.source.deadline: no row has "sla"; there are customer, id'
    ]
    source["deadline"] = "30"
    assert faults(pipeline(source=source), [pool()], known=KNOWN, prompt_texts=TEXTS) == [
        'SyntheticPipeline support: spec.source.deadline: "30" gives no duration; '
        "write one such as row.urgent ? duration('30s') : duration('10m')"
    ]


def test_an_agents_default_prompt_has_to_be_defined_too() -> None:
    known = Known(configs={"drafter": {"prompt": "greet", "tools": []}})
    assert faults(pipeline(), [pool()], known=known, prompt_texts=TEXTS) == [
        'AgentPool drafter: spec.config.prompt: prompt "greet" is not defined '
        "(the agent's default); there are draft, judge"
    ]
    compile_plan(pipeline(), [pool(config={"prompt": "draft"})], known=known, prompt_texts=TEXTS)


@pytest.mark.parametrize(
    "config",
    [
        {"prompt": "draft"},
        {"judgePrompt": "judge"},
        {"judge_prompt": "judge"},
        {"prompts": ["draft", "judge"]},
        {"prompts": {"first": "draft"}},
        {"prompt": None},
        {"prompted": "anything", "temperature": 0.9},
    ],
)
def test_config_keys_that_name_prompts_by_convention_are_followed(config: dict[str, Any]) -> None:
    compile_plan(pipeline(), [pool(config=config)], prompt_texts=TEXTS)


def test_a_prompt_whose_config_map_lacks_has_a_reason_of_its_own() -> None:
    with pytest.raises(ManifestErrors) as caught:
        compile_plan(pipeline(), [pool()])
    assert [error.reason for error in caught.value.errors] == ["PromptMissing"]


def test_a_step_that_waits_for_its_pool_has_a_reason_of_its_own() -> None:
    with pytest.raises(ManifestErrors) as caught:
        compile_plan(pipeline(), [], prompt_texts=TEXTS)
    assert [error.reason for error in caught.value.errors] == ["PoolMissing"]


def test_relative_paths_are_refused_where_no_folder_is_known() -> None:
    lines = faults(
        pipeline(source={"dataset": {"uri": "tickets.csv"}}, output={"uri": "out"}),
        [pool()],
        prompt_texts=TEXTS,
    )
    assert len(lines) == 2
    assert all("is a relative path" in line for line in lines)


def test_all_faults_are_told_at_once() -> None:
    lines = faults(
        pipeline(
            flow={"entry": "x", "steps": [{"name": "drafter", "next": [{"to": "y"}]}]},
            tools=[{"name": "t", "description": "x"}],
        ),
        [pool(engine={}), pool("other")],
    )
    assert len(lines) == 6


CHANGES: dict[str, Any] = {
    "agent": "weft.builtin:ToolAgent",
    "image": "agents:2",
    "engine": {"simulator": {}},
    "gpu": {"count": 2},
    "resources": {"limits": {"memory": "4Gi"}},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"operator": "Exists"}],
    "podTemplate": {"spec": {"priorityClassName": "batch"}},
    "serviceAccountName": "agents",
    "imagePullSecrets": [{"name": "registry"}],
    "env": [{"name": "A", "value": "b"}],
}


def test_every_rolled_field_changes_the_revision() -> None:
    assert {PoolSpec.model_fields[name].alias for name in ROLLED} == CHANGES.keys()
    before = revision(pool(), pipeline())
    revisions = {revision(pool(**{name: value}), pipeline()) for name, value in CHANGES.items()}
    assert len(revisions | {before}) == len(CHANGES) + 1


def test_no_live_field_changes_the_revision() -> None:
    changed = pool(
        config={"temperature": 1},
        replicas=5,
        concurrency=3,
        autoscaling={"min": 1, "max": 9},
    )
    assert revision(changed, pipeline()) == revision(pool(), pipeline())


def test_the_pipelines_image_and_storage_count_for_pools_too() -> None:
    before = revision(pool(), pipeline())
    assert revision(pool(), pipeline(ray={"image": "agents:2"})) != before
    assert revision(pool(), pipeline(storage={"secretRef": {"name": "b"}})) != before
    own = {"image": "agents:1"}
    assert revision(pool(**own), pipeline(ray={"image": "x"})) == revision(pool(**own), pipeline())


def test_writing_out_a_default_changes_no_revision() -> None:
    short = pool(engine={"simulator": {}}, gpu={})
    long = pool(engine={"simulator": {"slots": 64, "faults": {}}}, gpu={"count": 1})
    assert revision(short, pipeline()) == revision(long, pipeline())


def test_a_revision_outlives_releases() -> None:
    """A changed hash would roll every pool of every cluster when the operator is upgraded."""
    known = pool(image="agents:1", engine={"vllm": {"model": "m"}}, gpu={"count": 2})
    assert revision(known, pipeline()) == "f8e08c8b"
