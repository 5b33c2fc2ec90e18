"""What is done about a pipeline, step by step, in a world without a cluster."""

from __future__ import annotations

import dataclasses
from typing import Any

from operator_tests.samples import DEFAULTS, World, gpu_node, pool, writes
from weft_operator.decide.decision import decide, missing_pipeline
from weft_operator.facts import Companions
from weft_operator.jsontypes import Object, digest
from weft_operator.names import SPEC_DIGEST


def condition(status: Object | None, kind: str) -> Object:
    assert status is not None
    found: Object = next(c for c in status["conditions"] if c["type"] == kind)
    return found


def running(*pools: Object, **spec: Any) -> World:
    """A world in which all is made, runs, and has come to rest."""
    world = World(*pools, **spec)
    world.step()
    world.run_pods()
    world.settle()
    return world


def test_a_new_pipeline_gets_all_it_needs_in_one_decision() -> None:
    world = World()
    decision = world.decide()
    assert {"token", "plan_map", "create", "status"} <= writes(decision).keys()
    assert decision.status is not None
    assert decision.status["phase"] == "Starting"
    assert decision.status["planGeneration"] == 1


def test_at_rest_nothing_is_written() -> None:
    world = running()
    for _ in range(3):
        world.now += 60
        world.head_says("Running")
        assert writes(world.decide()) == {}


def test_ready_when_every_pool_serves_and_not_before() -> None:
    world = World()
    world.step()
    world.run_pods(serving=False)
    world.settle()
    assert condition(world.pipeline["status"], "Ready")["status"] == "False"
    assert condition(world.pools[0]["status"], "Ready")["message"] == "0 of 2 agents serve"
    world.run_pods()
    world.settle()
    assert condition(world.pipeline["status"], "Ready")["reason"] == "AllPoolsServing"
    assert world.pipeline["status"]["phase"] == "Running"
    assert world.pipeline["status"]["pools"] == "1/1"
    assert world.pools[0]["status"]["readyReplicas"] == 2


def test_a_ready_pod_that_the_head_does_not_know_does_not_serve() -> None:
    world = running()
    world.head_says("Running", pools=[])
    world.settle()
    assert world.pools[0]["status"]["readyReplicas"] == 0
    assert condition(world.pipeline["status"], "Ready")["status"] == "False"


def test_a_new_release_of_the_operator_changes_no_cluster_that_runs() -> None:
    world = running()
    # It would write all templates differently: another default image, another pull policy.
    world.defaults = dataclasses.replace(
        DEFAULTS, image="weft.dev/agents:2", image_pull_policy="Always"
    )
    assert writes(world.decide()) == {}


def test_a_new_release_that_starts_rays_head_differently_leaves_a_head_that_runs_alone() -> None:
    world = running()
    assert world.cluster is not None
    former = {"include-dashboard": "false", "num-cpus": "0"}
    world.cluster["spec"]["headGroupSpec"]["rayStartParams"] = former
    world.cluster["metadata"]["annotations"][SPEC_DIGEST] = digest(world.cluster["spec"])
    assert writes(world.decide()) == {}


def test_a_spec_changed_by_hand_is_put_right() -> None:
    world = running()
    before = world.groups()["drafter-a"]
    assert world.cluster is not None
    edited = world.cluster["spec"]["workerGroupSpecs"][1]
    assert edited["groupName"] == "drafter-a"
    good = before["template"]["spec"]["containers"][0]["image"]
    edited["template"]["spec"]["containers"][0]["image"] = "evil:1"
    world.cluster["spec"]["enableInTreeAutoscaling"] = True
    world.cluster["metadata"]["generation"] += 1
    assert "replace" in writes(world.step())
    repaired = world.groups()["drafter-a"]["template"]["spec"]["containers"][0]["image"]
    assert repaired == good
    assert "enableInTreeAutoscaling" not in world.cluster["spec"]
    assert writes(world.decide()) == {}


def test_a_group_scaled_by_hand_is_scaled_back_and_names_who_leaves() -> None:
    world = running()
    world.groups()["drafter-a"]["replicas"] = 5
    world.run_pods()
    world.step()
    group = world.groups()["drafter-a"]
    assert group["replicas"] == 2
    assert len(group["scaleStrategy"]["workersToDelete"]) == 3


def test_a_changed_prompt_is_a_new_plan_and_no_new_pods() -> None:
    world = running()
    cluster = world.cluster
    world.pipeline["spec"]["prompts"][0]["text"] = "Write better."
    first = world.step()
    assert first.plan_map is not None
    assert first.plan_map["metadata"]["annotations"]["weft.dev/plan-generation"] == "2"
    assert first.replace is None
    assert first.hand_plan == first.plan_map["data"]["plan.json"], "the running head gets it"
    assert world.decide().hand_plan == first.hand_plan, "until it has it"
    world.head_says("Running", generation=2)
    world.settle()
    assert world.cluster == cluster
    assert world.pipeline["status"]["planGeneration"] == 2


def test_a_changed_image_starts_in_the_idle_slot() -> None:
    world = running()
    world.pools[0]["spec"]["image"] = "mine:2"
    decision = world.step()
    groups = world.groups()
    assert groups["drafter-a"]["replicas"] == 2
    assert groups["drafter-b"]["replicas"] == 1
    assert groups["drafter-b"]["template"]["spec"]["containers"][0]["image"] == "mine:2"
    assert "RolloutStarted" in [e.reason for e in decision.events]
    for _ in range(8):
        world.run_pods()
        world.step()
    world.settle()
    groups = world.groups()
    assert (groups["drafter-a"]["replicas"], groups["drafter-b"]["replicas"]) == (0, 2)
    assert world.pools[0]["status"]["currentRevision"] == world.pools[0]["status"]["updateRevision"]


def test_faults_are_shown_and_what_runs_goes_on() -> None:
    world = running()
    cluster = world.cluster
    world.pipeline["spec"]["flow"]["steps"][0]["next"][0]["to"] = "nowhere"
    world.pipeline["metadata"]["generation"] = 2
    decision = world.settle()
    assert decision.replace is None
    assert world.cluster == cluster
    stalled = condition(world.pipeline["status"], "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "Invalid")
    assert "nowhere" in condition(world.pipeline["status"], "Ready")["message"]
    assert world.pipeline["status"]["phase"] == "Running"
    assert world.pipeline["status"]["observedGeneration"] == 2


def test_a_pipeline_waits_a_moment_for_its_pools_and_then_says_that_they_are_missing() -> None:
    world = World()
    world.pools = []
    world.now = 1_799_996_400.0 + 2.0  # two seconds after its creation
    decision = world.decide()
    assert writes(decision) == {}
    assert decision.again_in is not None
    assert decision.again_in <= 10
    world.now += 60
    world.step()
    assert world.pipeline["status"]["phase"] == "Stalled"
    assert "drafter" in world.pipeline["status"]["message"]


def test_a_prompt_in_a_config_map_that_is_not_there_names_it() -> None:
    prompt = {"name": "draft", "configMapKeyRef": {"name": "texts", "key": "draft"}}
    world = World(prompts=[prompt])
    world.prompt_maps = {"texts": None}
    world.step()
    assert "there is no ConfigMap" in world.pipeline["status"]["message"]
    world.prompt_maps = {"texts": {"other": "x"}}
    world.step()
    assert 'has no key "draft"; it has other' in world.pipeline["status"]["message"]
    world.prompt_maps = {"texts": {"draft": "Write."}}
    assert "create" in writes(world.step())


def test_suspend_removes_the_pods_and_resume_goes_on_with_a_new_image_at_once() -> None:
    world = running()
    world.pipeline["spec"]["suspend"] = True
    world.head_says("Draining")  # and nothing is in hand
    world.step()
    assert world.cluster is not None
    assert world.cluster["spec"]["suspend"] is True
    assert world.pipeline["status"]["phase"] == "Draining"
    world.pods, world.head = [], None
    world.settle()
    assert world.pipeline["status"]["phase"] == "Suspended"
    world.pools[0]["spec"]["image"] = "mine:2"
    world.settle()
    world.pipeline["spec"]["suspend"] = False
    world.step()
    assert world.cluster["spec"]["suspend"] is False
    groups = world.groups()
    assert (groups["drafter-a"]["replicas"], groups["drafter-b"]["replicas"]) == (0, 2)


def test_success_is_remembered_and_the_cluster_goes_when_its_time_is_over() -> None:
    world = running(ttlSecondsAfterFinished=60)
    world.head_says("Succeeded", rows={"total": 10, "accepted": 8, "rejected": 1, "dead": 1})
    decision = world.step()
    assert world.pipeline["status"]["phase"] == "Succeeded"
    assert world.pipeline["status"]["message"] == "8 accepted, 1 rejected, 1 dead"
    assert condition(world.pipeline["status"], "Ready")["status"] == "True"
    assert decision.again_in == 60
    world.now += 61
    assert "remove" in writes(world.step())
    world.pods, world.head = [], None
    world.settle()
    assert world.cluster is None
    assert world.pipeline["status"]["phase"] == "Succeeded"
    assert world.pipeline["status"]["rows"]["accepted"] == 8


def test_a_changed_plan_starts_a_finished_pipeline_again() -> None:
    world = running(ttlSecondsAfterFinished=0)
    world.head_says("Succeeded")
    world.settle()
    world.pods, world.head = [], None
    world.settle()
    world.pipeline["spec"]["ttlSecondsAfterFinished"] = 5
    assert "create" not in writes(world.decide()), "that is no reason to run again"
    world.pipeline["spec"]["prompts"][0]["text"] = "Write more."
    assert "create" in writes(world.step())
    assert world.pipeline["status"]["phase"] == "Starting"
    assert "finishedAt" not in world.pipeline["status"]


def test_a_failed_run_says_why() -> None:
    world = running()
    world.head_says("Failed", message="the source has no column ticket_id")
    world.step()
    status = world.pipeline["status"]
    assert status["phase"] == "Failed"
    assert condition(status, "Stalled")["status"] == "True"
    assert status["message"] == "the source has no column ticket_id"


def test_a_run_that_a_budget_has_stopped_says_so_and_is_no_failure() -> None:
    world = running()
    said = "budget.tokens: 3,004 of 3,000 tokens used; raise spec.budget.tokens to go on"
    world.head_says("Stopped", reason="TokenBudgetSpent", message=said)
    world.step()
    status = world.pipeline["status"]
    assert status["phase"] == "Stopped"
    assert condition(status, "Ready")["reason"] == "TokenBudgetSpent"
    assert condition(status, "Stalled")["status"] == "False"
    assert status["message"] == said


def test_without_a_matching_gpu_the_condition_names_the_label_and_later_it_goes_on() -> None:
    wanted = pool(gpu={"count": 1, "product": "NVIDIA-B200"})
    world = World(wanted)
    world.nodes = (gpu_node(),)
    world.step()
    world.run_pods(serving=False)
    world.pods = [p for p in world.pods if p.role != "agent"]
    world.settle()
    ready = condition(world.pools[0]["status"], "Ready")
    assert ready["reason"] == "NoMatchingNode"
    assert "nvidia.com/gpu.product=NVIDIA-B200" in ready["message"]
    assert "NVIDIA-H100-80GB-HBM3" in ready["message"]
    assert condition(world.pipeline["status"], "Stalled")["reason"] == "NoMatchingNode"
    world.nodes = (gpu_node("b200", gpus=8, product="NVIDIA-B200"),)
    world.run_pods()
    world.settle()
    assert condition(world.pipeline["status"], "Ready")["status"] == "True"


def test_a_pool_that_is_gone_leaves_its_groups_empty_and_in_place() -> None:
    extra = pool(name="second", step="drafter")
    world = running(pool(), extra)
    world.pools = world.pools[:1]
    world.step()
    groups = world.groups()
    assert list(groups) == ["writers", "drafter-a", "drafter-b", "second-a", "second-b"]
    assert groups["second-a"]["replicas"] == 0


def test_another_version_of_ray_first_ends_all_pods() -> None:
    world = running()
    world.pipeline["spec"]["ray"] = {"version": "2.61.0"}
    world.step()
    assert world.cluster is not None
    assert world.cluster["spec"]["suspend"] is True
    world.pods, world.head = [], None
    world.step()
    assert world.cluster["spec"]["suspend"] is False
    assert world.cluster["spec"]["rayVersion"] == "2.61.0"


def test_a_changed_head_is_written_and_then_its_pod_made_anew() -> None:
    world = running()
    world.pipeline["spec"]["ray"] = {"head": {"resources": {"requests": {"memory": "2Gi"}}}}
    assert "replace" in writes(world.step())
    decision = world.decide()
    assert [p.name for p in decision.delete_pods] == ["support-head-1"]


def test_a_suspended_pipeline_finishes_what_it_has_in_hand_but_not_for_ever() -> None:
    world = running()
    world.pipeline["spec"]["suspend"] = True
    world.head_says("Running", rows={"inFlight": 4})
    first = world.step()
    assert first.replace is None
    assert not first.drain, "it is told before it is done"
    assert world.decide().drain
    assert first.status is not None
    assert condition(first.status, "Drained")["status"] == "False"
    world.now += 59
    world.head_says("Draining", rows={"inFlight": 4})
    assert not world.decide().drain
    assert "replace" not in writes(world.decide())
    world.now += 2
    world.head_says("Draining", rows={"inFlight": 4})
    last = world.step()
    assert last.replace is not None
    assert last.replace.spec.suspend
    assert last.status is not None
    assert "Drained" not in [c["type"] for c in last.status["conditions"]]


def test_a_pipeline_that_has_nothing_in_hand_sleeps_at_once() -> None:
    world = running()
    world.pipeline["spec"]["suspend"] = True
    world.head_says("Draining", rows={"inFlight": 0})
    assert world.decide().replace is not None
    world.head = None
    assert world.decide().replace is not None, "nor is a silent head waited for"


def test_a_head_that_was_drained_for_nothing_begins_anew() -> None:
    world = running()
    world.head_says("Draining", rows={"inFlight": 1})
    assert world.decide().delete_pods == ()
    world.head_says("Stopped", reason="DrainRequested")
    assert world.decide().delete_pods == (), "somebody has told the head so: that is their affair"
    world.pipeline["spec"]["suspend"] = True
    world.head_says("Running", rows={"inFlight": 1})
    world.step()
    assert world.step().drain
    world.pipeline["spec"]["suspend"] = False
    world.head_says("Draining", rows={"inFlight": 1})
    world.step()
    world.head_says("Stopped", reason="DrainRequested")
    assert [pod.role for pod in world.decide().delete_pods] == ["head"]


def test_a_head_whose_drain_may_have_come_through_is_replaced_when_the_pipeline_is_resumed() -> (
    None
):
    """What it said last may be older than the word to drain: so that is carried through."""
    world = running()
    world.pipeline["spec"]["suspend"] = True
    world.step()
    assert world.pipeline["status"]["drainingHead"] == "support-head-1"
    world.pipeline["spec"]["suspend"] = False
    for _ in range(2):
        assert world.step().drain
    world.head_says("Stopped", reason="DrainRequested")
    assert [pod.name for pod in world.step().delete_pods] == ["support-head-1"]
    world.pods[0] = dataclasses.replace(world.pods[0], name="support-head-2", uid="another")
    world.head_says("Running")
    settled = world.settle()
    assert not settled.drain
    assert "drainingHead" not in world.pipeline["status"]


def test_a_drained_head_that_has_not_left_yet_is_replaced_when_the_pipeline_is_resumed() -> None:
    world = running()
    world.pipeline["spec"]["suspend"] = True
    world.step()
    world.head_says("Stopped", reason="DrainRequested")
    assert "replace" in writes(world.step()), "it sleeps now, but its pods are still there"
    world.pipeline["spec"]["suspend"] = False
    world.step()
    assert [pod.name for pod in world.decide().delete_pods] == ["support-head-1"]


def test_an_operator_that_has_not_asked_the_head_reports_nothing_new() -> None:
    world = running()
    world.head = None
    seen = dataclasses.replace(world.seen(), head_unasked=True)
    decision = decide(seen, DEFAULTS)
    assert writes(decision) == {}
    assert decision.polls
    assert writes(world.decide())["status"]["phase"] == "Starting"


def test_a_token_that_is_gone_is_made_anew_and_all_pods_with_it() -> None:
    world = running()
    gone = dataclasses.replace(world.seen(), companions=Companions(0.0, network_policy=True))
    assert "token" in writes(decide(gone, DEFAULTS))
    world.pods = [dataclasses.replace(pod, started=world.now - 60) for pod in world.pods]
    world.now += 1
    for made, pods in ((world.now - 70, 0), (world.now, len(world.pods))):
        seen = dataclasses.replace(world.seen(), companions=Companions(made, network_policy=True))
        assert len(decide(seen, DEFAULTS).delete_pods) == pods


def test_a_cluster_of_a_former_pipeline_of_that_name_is_waited_for() -> None:
    world = running()
    world.pipeline["metadata"]["uid"] = "another"
    decision = world.decide()
    assert writes(decision) == {}
    assert decision.again_in == 1.0


def test_pools_without_a_pipeline_say_so_after_a_moment() -> None:
    world = World()
    statuses, events, wait = missing_pipeline("support", world.pools, world.now)
    assert wait is None
    assert "there is no SyntheticPipeline" in condition(statuses["drafter"], "Ready")["message"]
    assert [e.kind for e in events] == ["Warning"]
    young = world.now - 3600 + 1
    assert missing_pipeline("support", world.pools, young)[2] is not None


def test_events_come_when_something_turns_and_not_again() -> None:
    world = World()
    first = world.step()
    assert [e.reason for e in first.events] == ["Starting"]
    assert world.step().events == ()
    world.run_pods()
    reasons = {e.reason for e in world.step().events}
    assert reasons == {"Running", "AllServing"}
    assert world.step().events == ()


def test_a_pod_that_cannot_start_is_told_of_by_name_and_cause() -> None:
    world = World()
    world.step()
    world.run_pods(serving=False)
    bad = next(p for p in world.pods if p.role == "agent")
    trouble = 'CreateContainerConfigError: secret "openai" not found'
    world.pods[world.pods.index(bad)] = dataclasses.replace(bad, trouble=trouble)
    world.step()
    ready = condition(world.pools[0]["status"], "Ready")
    assert ready["reason"] == "PodFailing"
    assert ready["message"] == f"pod {bad.name}: {trouble}"
