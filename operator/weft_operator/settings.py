"""What the operator is told at its start."""

from __future__ import annotations

from dataclasses import dataclass

from weft_operator.decide.pods import Defaults


@dataclass(frozen=True)
class Settings:
    """Flags and environment of `python -m weft_operator`."""

    defaults: Defaults
    namespaces: tuple[str, ...] = ()
    """Empty: the whole cluster."""
    own_namespace: str = "default"
    """Where the Lease is."""
    identity: str = "weft-operator"
    """Name of this process among the replicas."""
    lease_name: str = "weft-operator"
    leader_election: bool = True
    watch_nodes: bool = True
    watch_clusters: bool = True
    """False while KubeRay is not installed; found out at the start."""
    metrics_port: int = 8080
    health_port: int = 8081
    workers: int = 64
    """Pipelines that are reconciled at once."""
    resync_seconds: float = 300.0
    poll_seconds: float = 3.0
    """How often the head of a running pipeline is asked, at least; polls_per_second bounds all."""
    polls_per_second: float = 30.0
    prompt_seconds: float = 1.0
    """How often ConfigMaps that prompts stand in are read, at most; prompt_reads_per_second bounds
    all. To watch them would be to keep all ConfigMaps of the cluster for the sake of a few."""
    prompt_reads_per_second: float = 20.0
