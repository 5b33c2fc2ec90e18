"""The pods of head, writers and agents, as templates for the RayCluster's groups.

Every pod satisfies the `restricted` Pod Security Standard
(https://kubernetes.io/docs/concepts/security/pod-security-standards/) unless a podTemplate takes
that away. Secrets are in it by reference only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from weft_api.engine import ApiKeyRef
from weft_api.kubernetes import EnvVar, PodFields, Resources
from weft_api.lineage import lineage_secret
from weft_api.pipeline import SyntheticPipeline
from weft_api.plan import tool_secrets
from weft_api.pool import AgentPool, Gpu
from weft_api.scalars import Quantity
from weft_operator import names
from weft_operator.decide.network import Callers
from weft_operator.decide.overlay import lay_over
from weft_operator.jsontypes import Object

DRAIN_SECONDS: Final = 60
"""What an agent is given to finish or hand back its rows."""
GRACE_SECONDS: Final = DRAIN_SECONDS + 30
"""Must exceed the drain, or the kubelet kills what still hands its rows back."""

GPU_RESOURCE: Final = "nvidia.com/gpu"
GPU_PRODUCT: Final = "nvidia.com/gpu.product"
GPU_MEMORY: Final = "nvidia.com/gpu.memory"
"""Labels of NVIDIA's GPU feature discovery; memory is in MiB."""

# Without a memory limit Ray takes the node's memory for its own.
_HEAD_DEFAULT: Final = {
    "requests": {"cpu": "250m", "memory": "768Mi"},
    "limits": {"memory": "4Gi"},
}
_AGENT_DEFAULT: Final = {
    "requests": {"cpu": "250m", "memory": "512Mi"},
    "limits": {"memory": "4Gi"},
}


@dataclass(frozen=True)
class Defaults:
    """What the operator gives to pods whose manifest says nothing."""

    image: str
    image_pull_policy: str = ""
    """Empty: Kubernetes' own rule."""
    image_pull_secrets: tuple[str, ...] = ()
    callers: Callers | None = None
    """Who may reach the pods; None: no NetworkPolicy is made."""


def head_image(pipeline: SyntheticPipeline, defaults: Defaults) -> str:
    return pipeline.spec.ray.image or defaults.image


def head_template(pipeline: SyntheticPipeline, defaults: Defaults, revision: str) -> Object:
    """The head's pod. It asks for no GPU, so that none is taken from the agents."""
    head = pipeline.spec.ray.head
    image = head_image(pipeline, defaults)
    env = _env(pipeline, image, revision)
    if (key := lineage_secret(pipeline.spec.lineage)) is not None:
        env = _with_env([], _from_secrets({key.variable: key}), env)
    container = _container("head", image, defaults, names.HEAD_PORT, env, pipeline)
    probe = {"httpGet": {"path": "/healthz", "port": names.HEAD_PORT}}
    container |= {
        "resources": _resources(head.resources, _HEAD_DEFAULT),
        "startupProbe": probe | {"periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 150},
        "readinessProbe": probe | {"periodSeconds": 3, "timeoutSeconds": 5},
        "livenessProbe": probe | {"periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
    }
    labels = _labels(pipeline, "head", revision)
    return _template(labels, _pod_spec(pipeline, container, head, defaults), head.pod_template)


def writer_template(pipeline: SyntheticPipeline, defaults: Defaults, revision: str) -> Object:
    image = head_image(pipeline, defaults)
    env = [*_env(pipeline, image, revision), _head_address(pipeline)]
    container = _container("writer", image, defaults, names.AGENT_PORT, env, pipeline)
    container |= {"resources": _resources(Resources(), _AGENT_DEFAULT)} | _worker_probes()
    # A writer writes where the head writes; so it lives by the head's rules (selector, volumes).
    head = pipeline.spec.ray.head
    labels = _labels(pipeline, "writer", revision)
    return _template(labels, _pod_spec(pipeline, container, head, defaults), head.pod_template)


def agent_image(pool: AgentPool, pipeline: SyntheticPipeline, defaults: Defaults) -> str:
    return pool.spec.image or head_image(pipeline, defaults)


def agent_template(
    pool: AgentPool, pipeline: SyntheticPipeline, defaults: Defaults, revision: str
) -> Object:
    spec = pool.spec
    image = agent_image(pool, pipeline, defaults)
    ours = [
        *_env(pipeline, image, revision),
        _head_address(pipeline),
        {"name": "WEFT_POOL", "value": pool.metadata.name},
    ]
    env = _with_env(spec.env, _secrets(pool, pipeline), ours)
    container = _container("agent", image, defaults, names.AGENT_PORT, env, pipeline)
    default = {} if spec.gpu is not None else _AGENT_DEFAULT
    container |= {"resources": _resources(spec.resources, default, spec.gpu)} | _worker_probes()
    pod = _pod_spec(pipeline, container, spec, defaults)
    pulled = (*defaults.image_pull_secrets, *(secret.name for secret in spec.image_pull_secrets))
    if pulled:
        pod["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys(pulled)]
    if spec.gpu is not None:
        pod |= _gpu_placement(spec.gpu, pod.get("nodeSelector", {}))
    if spec.service_account_name is not None:
        pod["serviceAccountName"] = spec.service_account_name
        pod["automountServiceAccountToken"] = True
    labels = _labels(pipeline, "agent", revision) | {names.POOL_LABEL: pool.metadata.name}
    return _template(labels, pod, spec.pod_template)


def unused_template(pool: AgentPool, pipeline: SyntheticPipeline, defaults: Defaults) -> Object:
    """For a slot that has never been used: KubeRay wants a container, and nothing runs from it.

    Small, since most pools' second slot stays like this.
    """
    image = agent_image(pool, pipeline, defaults)
    return {"spec": {"containers": [{"name": names.CONTAINER, "image": image}]}}


def _template(labels: Object, pod: Object, overlay: Mapping[str, object]) -> Object:
    """The overlay may add labels, but not take away those by which the operator finds its pods."""
    template = lay_over({"metadata": {"labels": labels}, "spec": pod}, overlay)
    return lay_over(template, {"metadata": {"labels": labels}})


def _labels(pipeline: SyntheticPipeline, role: str, revision: str) -> Object:
    return {
        names.MANAGED_BY_LABEL: names.MANAGER,
        names.PIPELINE_LABEL: pipeline.metadata.name,
        names.ROLE_LABEL: role,
        names.REVISION_LABEL: revision,
    }


def _env(pipeline: SyntheticPipeline, image: str, revision: str) -> list[Object]:
    token = {"name": names.token_secret(pipeline.metadata.name), "key": names.TOKEN_KEY}
    return [
        {"name": "WEFT_PLAN", "value": f"{names.PLAN_FOLDER}/{names.PLAN_FILE}"},
        {"name": "WEFT_TOKEN", "valueFrom": {"secretKeyRef": token}},
        {"name": "WEFT_REVISION", "value": revision},
        {"name": "WEFT_IMAGE", "value": image},
        _from_pod("POD_NAME", "metadata.name"),
        _from_pod("POD_IP", "status.podIP"),
        _from_pod("NODE_NAME", "spec.nodeName"),
        {"name": "WEFT_DRAIN_SECONDS", "value": str(DRAIN_SECONDS)},
    ]


def _from_pod(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _head_address(pipeline: SyntheticPipeline) -> Object:
    meta = pipeline.metadata
    address = f"http://{meta.name}-head-svc.{meta.namespace}.svc:{names.HEAD_PORT}"
    return {"name": "WEFT_HEAD", "value": address}


def _secrets(pool: AgentPool, pipeline: SyntheticPipeline) -> list[Object]:
    """What the pool's engine and the pipeline's MCP servers refer to."""
    refs = tool_secrets(pipeline.spec.tools)
    engine = pool.spec.engine
    if engine and engine.openai and (key := engine.openai.api_key_secret_ref):
        refs[key.variable] = key
    return _from_secrets(refs)


def _from_secrets(refs: Mapping[str, ApiKeyRef]) -> list[Object]:
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}
        for name, ref in refs.items()
    ]


def _with_env(theirs: list[EnvVar], *ours: list[Object]) -> list[Object]:
    """The manifest's variables, then ours; ours count where both name one."""
    merged = {var.name: var.model_dump(by_alias=True, exclude_none=True) for var in theirs}
    for group in ours:
        merged |= {var["name"]: var for var in group}
    return list(merged.values())


def _container(
    role: str,
    image: str,
    defaults: Defaults,
    port: int,
    env: list[Object],
    pipeline: SyntheticPipeline,
) -> Object:
    container: Object = {
        "name": names.CONTAINER,
        "image": image,
        "command": ["weft", role],
        # Its last lines become the condition's message when it fails.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": env,
        "ports": [{"name": "weft", "containerPort": port, "protocol": "TCP"}],
        "volumeMounts": [{"name": "plan", "mountPath": names.PLAN_FOLDER, "readOnly": True}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
        },
    }
    if role == "head":
        # The head service gets the ports that the container names.
        container["ports"] += [
            {"name": "gcs-server", "containerPort": 6379, "protocol": "TCP"},
            {"name": "dashboard", "containerPort": 8265, "protocol": "TCP"},
        ]
    if defaults.image_pull_policy:
        container["imagePullPolicy"] = defaults.image_pull_policy
    if pipeline.spec.storage is not None:
        container["envFrom"] = [{"secretRef": {"name": pipeline.spec.storage.secret_ref.name}}]
    return container


def _worker_probes() -> Object:
    """An agent that loads a model or seeks its head is alive, and not ready."""
    return {
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": names.AGENT_PORT},
            "periodSeconds": 3,
            "timeoutSeconds": 5,
        },
        # Its port opens when Ray has joined, which waits for the head, which waits for a node …
        "startupProbe": {
            "httpGet": {"path": "/healthz", "port": names.AGENT_PORT},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 120,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": names.AGENT_PORT},
            "periodSeconds": 20,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
    }


def _resources(wanted: Resources, default: Mapping[str, object], gpu: Gpu | None = None) -> Object:
    said = wanted.model_dump(mode="json", by_alias=True)
    resources: Object = {key: value for key, value in said.items() if value}
    if not resources:
        resources = lay_over({}, default)
    if gpu is not None:
        limits = {**resources.get("limits", {}), GPU_RESOURCE: str(gpu.count)}
        resources = {**resources, "limits": limits}
    return resources


def _pod_spec(
    pipeline: SyntheticPipeline, container: Object, fields: PodFields, defaults: Defaults
) -> Object:
    plan = {"name": names.plan_map(pipeline.metadata.name)}
    pod: Object = {
        "containers": [container],
        "volumes": [{"name": "plan", "configMap": plan}],
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": 10001,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if fields.node_selector:
        pod["nodeSelector"] = dict(fields.node_selector)
    if fields.tolerations:
        said = [t.model_dump(by_alias=True, exclude_none=True) for t in fields.tolerations]
        pod["tolerations"] = said
    if defaults.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in defaults.image_pull_secrets]
    return pod


def _gpu_placement(gpu: Gpu, selector: Mapping[str, str]) -> Object:
    placement: Object = {}
    if gpu.product is not None:
        placement["nodeSelector"] = {**selector, GPU_PRODUCT: gpu.product}
    if gpu.memory is not None:
        # `Gt` is strict, and compares integers.
        least = {
            "key": GPU_MEMORY,
            "operator": "Gt",
            "values": [str(least_gpu_mebibytes(gpu.memory) - 1)],
        }
        terms = {"nodeSelectorTerms": [{"matchExpressions": [least]}]}
        placement["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}
        }
    return placement


def least_gpu_mebibytes(memory: Quantity) -> int:
    """What the label must say for a card of that size.

    Drivers report less than what a card is sold as: an H100 of 80 GB has 81,559 MiB, an L4 of
    24 GB 23,034 MiB, a T4 of 16 GB 15,360 MiB. So 7 % less still counts.
    """
    return memory.bytes * 93 // 100 // 2**20
