"""What happens in one run: the pipeline, its workload and the faults, all drawn from one seed."""

from __future__ import annotations

import random
from typing import Literal, NamedTuple, get_args

import msgspec

from weft.protocol.message import ACCEPT, REJECT

FAN = "$fan"
"""The way of a row that is divided."""


class Fan(NamedTuple):
    branches: tuple[str, ...]
    """The step that each begins with."""
    join: str


FLOWS: dict[str, dict[str, tuple[str, ...]]] = {
    "one step": {"a": (REJECT, ACCEPT)},
    "line": {"a": ("b",), "b": ("c",), "c": (REJECT, ACCEPT)},
    "dialogue": {
        "draft": ("tools", "judge"),
        "tools": ("draft",),
        "judge": ("draft", REJECT, "meta"),
        "meta": (ACCEPT,),
    },
    "to itself": {"a": ("a", "b"), "b": ("b", "a", ACCEPT)},
    "pairs": {"a": ("b",), "b": ("a", "b", ACCEPT)},
    "candidates": {"a": (FAN,), "b": (REJECT, "b", "c"), "c": (REJECT, ACCEPT)},
    "sides": {
        "plan": ("plan", FAN),
        "left": ("more", "merge"),
        "more": ("left", "merge"),
        "right": ("merge",),
        "merge": ("plan", REJECT, "end"),
        "end": (ACCEPT,),
    },
}
"""Step -> where a row may go from it, the way out last. The first step is the entry."""

FANS: dict[str, dict[str, Fan]] = {
    "candidates": {"a": Fan(("b", "b", "b"), "c")},
    "sides": {"plan": Fan(("left", "right"), "merge")},
}
"""Flow -> step -> what a row is divided into there."""

LONGEST = 9
"""Hops after which a row takes the way out of each step."""

FaultKind = Literal[
    "kill",
    "kill several",
    "kill all",
    "pause",
    "pause long",
    "replace",
    "break",
    "partition",
    "partition one way",
    "drain",
    "scale up",
    "slow",
    "cut",
]


class Fault(msgspec.Struct, frozen=True):
    """`targets`: names of processes. `lasts`: seconds until it is made good."""

    at: float
    kind: FaultKind
    targets: tuple[str, ...]
    lasts: float = 0.0


class Schedule(msgspec.Struct, frozen=True):
    """Everything that a run depends on. Times in virtual seconds."""

    seed: int
    mix: str
    flow: str
    rows: int
    source_partitions: int = 1
    agents: dict[str, int] = {}
    """Step -> instances."""
    writers: int = 1
    partitions: int = 1
    concurrency: int = 2
    max_rows: int = 16
    max_bytes: int = 1 << 20
    fence_rows: int = 16_384
    max_crashes: int = 1000
    """More than any schedule kills, but where rows are to die of it."""
    max_attempts: int = 3
    max_batch: int = 8
    interval: float = 0.2
    work: float = 0.2
    """Mean seconds that a hop takes."""
    delay: float = 0.005
    """Mean seconds that a frame takes."""
    failing: float = 0.0
    """Share of hops that fail, to be tried again."""
    silent: float = 0.0
    """Share of hops without a segment."""
    buried: float = 0.0
    """Share of rows that cannot even start."""
    target: int | None = None
    """Accepted rows that are wanted; None: all that come of the source."""
    poison: tuple[int, ...] = ()
    """Ordinals of rows that kill any process that handles them, undivided, in `poison_step`."""
    poison_step: str = ""
    """By default the entry."""
    unreachable: float = 15.0
    """Seconds without a connection until a peer counts as unreachable."""
    small_frames: bool = False
    """Frames of few messages, several on their way at once."""
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    commit_before: float = 0.0
    """Share of commits that fail before they are applied."""
    commit_unknown: float = 0.0
    """Share of commits that are applied and reported as failed."""
    commit_death: float = 0.0
    """Share of commits in which the writer dies, before or after they are applied."""
    faults: tuple[Fault, ...] = ()
    calm: float = 0.0
    """When the last fault has ended: from here on everything must come to its end."""

    @property
    def steps(self) -> dict[str, tuple[str, ...]]:
        return FLOWS[self.flow]

    @property
    def fans(self) -> dict[str, Fan]:
        return FANS.get(self.flow, {})

    @property
    def lanes(self) -> int:
        """Of one row: itself, and its branches with the divided row at the join."""
        return 2 + max((len(fan.branches) for fan in self.fans.values()), default=0)

    @property
    def entry(self) -> str:
        return next(iter(self.steps))


MIXES = (
    "calm",
    "one death",
    "network",
    "cut",
    "deaths",
    "writers",
    "head",
    "change",
    "poison",
    "all",
    "all",
)


def generate(seed: int, mix: str | None = None) -> Schedule:
    """The schedule of this seed. `mix` limits the kinds of faults; left out, the seed says."""
    rng = random.Random(seed * 2654435761 % 2**32)
    chosen = MIXES[seed % len(MIXES)] if mix is None else mix
    flow = rng.choice(list(FLOWS))
    several = rng.random() < 0.7
    agents = {step: rng.choice((1, 2, 3)) if several else 1 for step in FLOWS[flow]}
    writers = rng.choice((1, 1, 2))
    rows = rng.choice((3, 6, 10, 16, 24))
    work = rng.choice((0.05, 0.2, 0.5))
    plain = Schedule(
        seed,
        chosen,
        flow,
        rows,
        source_partitions=rng.choice((1, 1, 2)),
        agents=agents,
        writers=writers,
        partitions=writers * rng.choice((1, 2)),
        concurrency=rng.choice((1, 2, 4)),
        max_rows=rng.choice((2, 8, 100)),
        max_bytes=rng.choice((150, 1 << 20, 1 << 20)),
        max_batch=rng.choice((2, 100)),
        interval=rng.choice((0.0, 0.2, 1.0)),
        work=work,
        delay=rng.choice((0.001, 0.005, 0.05)),
        failing=rng.choice((0.0, 0.0, 0.1)),
        silent=rng.choice((0.0, 0.3)),
        buried=rng.choice((0.0, 0.0, 0.1)),
        small_frames=rng.random() < 0.5,
    )
    if chosen == "calm":
        return plain
    if chosen == "one death":
        # Nothing may have to start again: hops take longer than frames, so that no census misses
        # a row on the move.
        names = [f"{step}-{i}" for step, count in agents.items() for i in range(count)]
        names += [f"writer-{i}" for i in range(writers)]
        fault = Fault(rng.uniform(0.3, 4.0), "kill", (rng.choice(names),), rng.uniform(0.5, 3.0))
        return msgspec.structs.replace(
            plain,
            work=0.5,
            delay=rng.choice((0.002, 0.05)),
            duplication=rng.choice((0.0, 0.3)),
            faults=(fault,),
            calm=fault.at + fault.lasts,
        )
    if chosen == "poison":
        # Nobody dies but of these rows, so nobody else may end dead for it.
        return msgspec.structs.replace(
            plain,
            max_crashes=4,
            max_rows=rng.choice((8, 100)),
            buried=0.0,
            duplication=rng.choice((0.0, 0.3)),
            poison=tuple(rng.sample(range(rows), rng.choice((1, 1, 2, 3)))),
            poison_step=rng.choice(["", *(fan.join for fan in plain.fans.values())]),
        )
    return _with_faults(plain, rng)


_KINDS: dict[str, tuple[FaultKind, ...]] = {
    "network": ("break", "break", "partition", "partition one way", "slow"),
    "cut": ("cut", "cut", "cut", "break"),
    "deaths": ("kill", "kill", "kill several", "kill all", "pause", "pause long"),
    "writers": ("kill", "pause", "pause long", "replace", "break"),
    "head": ("kill", "pause", "pause long", "replace", "break"),
    "change": ("drain", "drain", "scale up", "kill", "slow", "break"),
    "all": get_args(FaultKind),
}


def _with_faults(plain: Schedule, rng: random.Random) -> Schedule:
    agents = [f"{step}-{i}" for step, count in plain.agents.items() for i in range(count)]
    writers = [f"writer-{i}" for i in range(plain.writers)]
    everyone = [*agents, *writers, "head"]
    network = plain.mix in ("network", "cut", "all") and rng.random() < 0.7
    commits = plain.mix in ("writers", "all") and rng.random() < 0.7
    last = rng.choice((2.0, 5.0, 10.0))
    faults: list[Fault] = []
    for _ in range(rng.choice((1, 2, 3, 5, 10 if plain.mix == "cut" else 3))):
        kind = rng.choice(_KINDS[plain.mix])
        at = rng.uniform(0.1, last)
        lasts = rng.uniform(0.1, 3.0)
        if plain.mix == "writers":
            whom = writers
        elif plain.mix == "head":
            whom = ["head", "head", *everyone]
        else:
            whom = everyone
        if kind in ("drain", "scale up"):
            targets: tuple[str, ...] = (rng.choice(agents),)
        elif kind == "replace":
            targets = (rng.choice([name for name in whom if name == "head" or name in writers]),)
            lasts = rng.uniform(2.0, 8.0)
        elif kind in ("kill several", "partition", "partition one way"):
            targets = tuple(rng.sample(everyone, rng.randint(1, max(1, len(everyone) // 2))))
            if kind != "kill several":
                lasts = rng.choice((0.5, 2.0, 6.0, 20.0))
        elif kind == "kill all":
            targets = tuple(everyone)
        elif kind == "cut":
            targets = tuple(rng.sample(everyone, 2))
            lasts = rng.choice((1.0, 6.0, 10.0))
        elif kind == "break":
            targets = tuple(rng.sample(everyone, 2))
        else:
            targets = (rng.choice(whom),)
        if kind == "pause long":
            lasts = rng.uniform(3.0, 8.0)
        faults.append(Fault(at, kind, targets, lasts))
    faults.sort(key=lambda fault: fault.at)
    poison = plain.mix == "all" and rng.random() < 0.1
    return msgspec.structs.replace(
        plain,
        max_crashes=2 if poison else plain.max_crashes,
        fence_rows=rng.choice((16_384, 16_384, 16_384, 2)),
        work=rng.choice((plain.work, 0.5, 1.5, 4.0 if plain.mix == "cut" else 0.5)),
        unreachable=4.0 if plain.mix in ("cut", "all") else plain.unreachable,
        loss=rng.choice((0.0, 0.02, 0.2)) if network else 0.0,
        duplication=rng.choice((0.0, 0.05, 0.3)) if network else 0.0,
        reordering=rng.choice((0.0, 0.05, 0.3)) if network else 0.0,
        commit_before=rng.choice((0.0, 0.2)) if commits else 0.0,
        commit_unknown=rng.choice((0.0, 0.3)) if commits else 0.0,
        commit_death=rng.choice((0.0, 0.3)) if commits else 0.0,
        poison=(0,) if poison else (),
        faults=tuple(faults),
        calm=max(fault.at + fault.lasts for fault in faults),
    )
