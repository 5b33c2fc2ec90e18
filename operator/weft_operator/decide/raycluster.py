"""The RayCluster that a pipeline shall have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from weft_api.lineage import lineage_secret
from weft_api.pipeline import SyntheticPipeline
from weft_api.plan import revision as pool_revision
from weft_api.pool import AgentPool
from weft_operator import names
from weft_operator.decide import pods
from weft_operator.decide.pods import Defaults
from weft_operator.decide.slots import SlotTarget, Step
from weft_operator.jsontypes import Object, digest
from weft_operator.kuberay import OVERWRITE_COMMAND, ClusterSpec, RayCluster, WorkerGroup

# The head hosts the directory and the control API, no agents. Ray's dashboard is a dozen processes
# with 1 GiB between them, and its monitor (of an autoscaler that is not used) one more, which a new
# head would have to start before the run goes on.
_HEAD_START: Final = {"include-dashboard": "false", "no-monitor": "true", "num-cpus": "0"}


def head_revision(pipeline: SyntheticPipeline) -> str:
    """Names what the pods of head and writers are made from: 8 hex digits.

    Fields at their default do not count, nor does the operator's default image: a new release of
    the operator leaves running clusters alone.
    """
    spec = pipeline.spec
    made_from = spec.ray.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if spec.storage is not None:
        made_from["storageSecret"] = spec.storage.secret_ref.name
    if (key := lineage_secret(spec.lineage)) is not None:
        made_from["lineageSecret"] = key.variable
    return digest(made_from, 8)


@dataclass(frozen=True)
class WriterPod:
    name: str
    revision: str
    ready: bool
    deleting: bool = False


def desired_spec(
    pipeline: SyntheticPipeline,
    pools: Mapping[str, AgentPool],
    steps: Mapping[str, Step],
    defaults: Defaults,
    *,
    actual: RayCluster | None,
    writers: Sequence[WriterPod] = (),
    suspend: bool = False,
) -> ClusterSpec:
    """Head, writers and two groups a pool; groups of pools that are gone stay, empty.

    `steps` holds the next step of each pool's slots, of pools that are gone too. What is there and
    has the wanted revision is taken over as it is, unless somebody else has changed it: so a new
    release of the operator, which would write a template differently, rewrites none.
    """
    drifted = actual is not None and is_drifted(actual)
    there = {} if actual is None else {group.name: group for group in actual.spec.groups}
    wanted = head_revision(pipeline)

    head, start = None, _HEAD_START
    if actual is not None and not drifted:
        head, start = actual.spec.head_template, dict(actual.spec.head_start_params)
    if head is None or _revision_of(head) != wanted:
        head, start = pods.head_template(pipeline, defaults, wanted), _HEAD_START

    groups = [_writers(pipeline, defaults, wanted, there.get(names.WRITERS), writers, drifted)]
    for name, step in steps.items():
        pool = pools.get(name)
        groups += [
            _slot(target, pool, pipeline, defaults, there, drifted, name) for target in step.slots
        ]
    made = {group.name: group for group in groups}
    # Existing groups keep their place, and none is ever removed: KubeRay would orphan its pods.
    kept = [made.pop(n) if n in made else _emptied(g) for n, g in there.items()]
    return ClusterSpec(
        ray_version=pipeline.spec.ray.version,
        head_template=head,
        groups=(*kept, *made.values()),
        suspend=suspend,
        head_start_params=start,
        token_secret=names.token_secret(pipeline.metadata.name),
    )


def cluster_object(pipeline: SyntheticPipeline, spec: ClusterSpec) -> Object:
    """The RayCluster to create."""
    meta = pipeline.metadata
    obj = spec.to_object()
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "labels": own_labels(pipeline),
            "annotations": {OVERWRITE_COMMAND: "true", names.SPEC_DIGEST: digest(obj)},
            "ownerReferences": [owner_reference(pipeline)],
        },
        "spec": obj,
    }


def own_labels(pipeline: SyntheticPipeline) -> Object:
    """None of the pipeline's own labels: GitOps tools would take the object for theirs."""
    return {
        names.MANAGED_BY_LABEL: names.MANAGER,
        names.PIPELINE_LABEL: pipeline.metadata.name,
    }


def owner_reference(pipeline: SyntheticPipeline) -> Object:
    return {
        "apiVersion": pipeline.api_version,
        "kind": pipeline.kind,
        "name": pipeline.metadata.name,
        "uid": pipeline.metadata.uid,
        "controller": True,
        # True would need a right on the pipelines' finalizers where that admission plug-in runs.
        "blockOwnerDeletion": False,
    }


def is_drifted(actual: RayCluster) -> bool:
    """Whether somebody else has changed the spec since the operator wrote it."""
    if actual.annotations.get(OVERWRITE_COMMAND) != "true":
        return True
    return actual.annotations.get(names.SPEC_DIGEST) != actual.spec_digest


def slot_revision(group: WorkerGroup | None) -> str:
    """The revision of a slot's template; empty where the slot is not there yet."""
    return "" if group is None else _revision_of(group.template)


def _revision_of(template: Object) -> str:
    labels: Mapping[str, str] = template.get("metadata", {}).get("labels") or {}
    return labels.get(names.REVISION_LABEL, "")


def _slot(
    target: SlotTarget,
    pool: AgentPool | None,
    pipeline: SyntheticPipeline,
    defaults: Defaults,
    there: Mapping[str, WorkerGroup],
    drifted: bool,
    pool_name: str,
) -> WorkerGroup:
    name = names.group_name(pool_name, target.name)
    group = there.get(name)
    as_wanted = group is not None and slot_revision(group) == target.revision
    template = group.template if group is not None else {}
    if pool is not None and (group is None or not as_wanted or drifted):
        wanted = pool_revision(pool, pipeline)
        # A former revision cannot be made again: what it was made from is gone.
        if target.revision == wanted:
            template = pods.agent_template(pool, pipeline, defaults, wanted)
        elif group is None:
            template = pods.unused_template(pool, pipeline, defaults)
    return WorkerGroup(name, template, target.replicas, target.leaving)


def _writers(
    pipeline: SyntheticPipeline,
    defaults: Defaults,
    revision: str,
    there: WorkerGroup | None,
    running: Sequence[WriterPod],
    drifted: bool,
) -> WorkerGroup:
    """Writers are replaced one at a time, in place: another takes the partition over."""
    count = pipeline.spec.delivery.writers
    template = None if there is None or drifted else there.template
    if template is None or _revision_of(template) != revision:
        template = pods.writer_template(pipeline, defaults, revision)
    names_there = {pod.name for pod in running}
    leaving = [n for n in (there.workers_to_delete if there else ()) if n in names_there]
    outdated = sorted(p.name for p in running if p.revision != revision and not p.deleting)
    all_ready = sum(pod.ready and not pod.deleting for pod in running) >= count
    if outdated and all_ready and not leaving:
        leaving.append(outdated[0])
    return WorkerGroup(names.WRITERS, template, count, tuple(leaving))


def _emptied(group: WorkerGroup) -> WorkerGroup:
    """A group that no resource asks for."""
    return WorkerGroup(group.name, group.template)
