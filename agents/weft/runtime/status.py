"""What a run looks like from outside, and what the processes report for it."""

from __future__ import annotations

import msgspec


class Stats(msgspec.Struct, array_like=True):
    """What a process tells the head with each heartbeat. Counters since its start."""

    state: str = "starting"
    """`starting`, `serving` or `draining`."""
    inbox: int = 0
    in_flight: int = 0
    hops: int = 0
    seconds: float = 0.0
    """Spent in `handle`, added up over concurrent rows."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    version: int = 0
    """Writers: the newest version of the Delta table that they committed."""
    rss: int = 0
    """Resident memory in bytes."""
    plan: int = 0
    """Generation of the plan that it runs by."""
    trouble: str = ""
    """What keeps it from working at the moment; one line."""
    process: str = ""
    """Tells this process from every other, also of the same name; its counters start at 0."""


class InstanceStatus(msgspec.Struct, rename="camel"):
    name: str
    revision: str
    state: str
    inbox: int
    in_flight: int
    hops: int
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    rss: int = 0
    trouble: str = ""
    plan: int = 0
    """Generation of the plan that it runs by."""


class PoolStatus(msgspec.Struct, rename="camel"):
    name: str
    step: str
    instances: list[InstanceStatus]


class RowCounts(msgspec.Struct, rename="camel"):
    """`total` None: not known before the source is read to its end."""

    total: int | None
    accepted: int
    rejected: int
    dead: int
    in_flight: int
    """On their way between the agents."""
    pending: int | None
    resumed: int
    """Found committed when this run started; they are part of the counts above."""
    reissued: int = 0
    committing: int = 0
    """Finished by the agents; they wait at a writer for their commit."""
    target: int | None = None
    """Accepted rows that are wanted (`output.targetRows`)."""


class OutputStatus(msgspec.Struct, rename="camel"):
    uri: str
    version: int


class TokenCounts(msgspec.Struct, rename="camel"):
    prompt: int
    completion: int


class Status(msgspec.Struct, rename="camel"):
    """The answer of `GET /v1/status`. Times in seconds."""

    pipeline: str
    phase: str
    """`Starting`, `Running`, `Draining`, and in the end `Succeeded`, `Failed` or `Stopped`: in
    order, before all rows were made."""
    plan_generation: int
    message: str
    rows: RowCounts
    tokens: TokenCounts
    pools: list[PoolStatus]
    writers: list[InstanceStatus]
    output: OutputStatus
    started: float
    elapsed: float
    reason: str = ""
    """Why it has ended, or is about to; one word (`runtime.limits`)."""
    cost: str | None = None
    """Over the life of the output, by the price table (`spec.budget.prices`)."""

    @property
    def finished(self) -> bool:
        """There is nothing left to do, or it cannot be done."""
        return self.phase in ("Succeeded", "Failed")
