"""What is done to whom, and when: from a seed alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random

import msgspec

from weft.attack.pipeline import LEASE

AGENT, WRITER, HEAD, RAYLET, GCS, COMMAND = (
    "agent",
    "writer",
    "head",
    "raylet",
    "gcs",
    "command",
)
OURS = (AGENT, WRITER, HEAD)


class Strike(msgspec.Struct, frozen=True):
    """One blow; several at once hit several processes in the same moment."""

    kind: str
    after: float
    """Seconds since the one before."""
    roles: tuple[str, ...] = ()
    """Whom: one living process of each role named; `*` stands for all of ours."""
    pause: float = 0.0
    """Stopped for so many seconds and woken; 0: killed."""
    ends_run: bool = False
    """The command cannot go on: it is started again."""


def _one(role: str) -> Strike:
    return Strike(f"{role} killed", 0.0, (role,))


def _paused(role: str) -> Strike:
    return Strike(f"{role} paused", 0.0, (role,), pause=1.0)


KINDS: dict[Strike, float] = {
    _one(AGENT): 32,
    _one(WRITER): 13,
    _one(HEAD): 9,
    _paused(AGENT): 15,
    _paused(WRITER): 8,
    _paused(HEAD): 6,
    Strike("two agents at once", 0.0, (AGENT, AGENT)): 4,
    Strike("agent and writer at once", 0.0, (AGENT, WRITER)): 4,
    Strike("head and agent at once", 0.0, (HEAD, AGENT)): 3,
    Strike("head and writer at once", 0.0, (HEAD, WRITER)): 3,
    Strike("both writers at once", 0.0, (WRITER, WRITER)): 2,
    Strike("all of ours at once", 0.0, ("*",)): 0.5,
    Strike("raylet killed", 0.0, (RAYLET,), ends_run=True): 0.2,
    Strike("GCS killed", 0.0, (GCS,), ends_run=True): 0.2,
    Strike("weft run killed", 0.0, (COMMAND,), ends_run=True): 0.2,
    Strike("everything at once", 0.0, ("**",), ends_run=True): 0.4,
}
"""Every kind, and how often of a hundred or so. `**`: the whole of the command's processes. What
ends the run is rare, since the next start takes as much CPU as fifteen agents' (`docs/reliability`)
and is struck by nothing."""

EVERY = 0.6
"""Seconds between strikes, on average, where the pipeline bears it (`campaign`)."""


def strikes(seed: str, count: int) -> Iterator[Strike]:
    """Strikes without end. Of the first `count`, where they are many enough, each kind has one at a
    random place; the rest are drawn by their weights."""
    chance = Random(seed)
    kinds = list(KINDS)
    places: dict[int, Strike] = {}
    if count >= 4 * len(kinds):
        places = dict(zip(chance.sample(range(count), len(kinds)), kinds, strict=True))
    for place in itertools.count():
        strike = places.get(place) or chance.choices(kinds, list(KINDS.values()))[0]
        pause = LEASE * chance.uniform(1.2, 2.2) if strike.pause else 0.0
        after = min(chance.expovariate(1 / EVERY), 4 * EVERY)
        yield msgspec.structs.replace(strike, after=after, pause=pause)
