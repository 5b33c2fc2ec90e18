"""Everything that can go wrong between the operator and the cluster, by a seed.

For a while, and then no more: whatever has happened, the end must be the one without faults.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from operator_tests.model import virtual_time
from operator_tests.model.life import Gate
from operator_tests.model.scenarios import RACING, SCENARIOS
from operator_tests.model.server import Change
from operator_tests.model.virtual_time import VirtualTime
from operator_tests.model.world import TooLate, World
from weft_operator.api import ApiError
from weft_operator.head_client import HeadError
from weft_operator.jsontypes import Object

log = logging.getLogger(__name__)

ALL: Final = {**SCENARIOS, **RACING}
BAD_TIMES: Final = 120.0
"""Seconds for which there are faults, at most."""
MENDED: Final = 340.0
"""Seconds from the last fault until a sweep has mended what the watches did not tell."""
PATIENCE: Final = 8.0
"""Waits are so many times as long as without faults."""
_STATUSES: Final = (0, 409, 429, 500, 503)
"""0: no answer in time."""
_TRUE_WARNINGS: Final = ("there is no SyntheticPipeline", "support-weft-")
"""A pipeline that is away for long, and pods that wait for what could not be written yet."""
_STEPS: Final = "patch rayclusters/support"


class Faulty(Gate):
    """One life under faults. `struck` counts what truly came to pass, over all lives."""

    def __init__(
        self, seed: int, life: int, clock: Callable[[], float], until: float, struck: Counter[str]
    ) -> None:
        super().__init__()
        self._chance = chance = random.Random(f"{seed}/{life}")
        self._clock = clock
        self._until = until
        self._struck = struck
        # Each life has weaknesses of its own: where everything fails a little, little fails.
        self._write = chance.choice((0.0, 0.05, 0.3))
        self._read = chance.choice((0.0, 0.05, 0.2))
        self._crash = chance.choice((0.0, 0.03, 0.1))
        self._double = chance.choice((0.0, 0.2))
        self._drop = chance.choice((0.0, 0.0, 0.1))
        self._stale = chance.choice((0.0, 0.02, 0.1))
        self._held: list[Change] = []
        self._silent_until = 0.0

    def _bad(self, share: float) -> bool:
        return self._clock() < self._until and self._chance.random() < share

    def _strike(self, what: str) -> None:
        self._struck[what] += 1
        log.debug("fault: %s", what)

    async def read(self, path: str, effect: Callable[[], Object]) -> Object:
        if self._bad(self._read):
            status = self._chance.choice(_STATUSES)
            self._strike(f"read refused with {status or 'no answer'}")
            raise _error(path, status)
        return effect()

    async def write(self, method: str, path: str, effect: Callable[[], Object]) -> Object:
        if self._bad(self._crash):
            after = self._chance.random() < 0.5
            self._strike(f"death {'after' if after else 'before'} a write")
            if after:
                effect()
            raise self.die()
        if self._bad(self._write):
            if self._chance.random() < 0.5:
                status = self._chance.choice(_STATUSES)
                self._strike(f"write refused with {status or 'no answer'}")
                raise _error(path, status)
            effect()
            status = self._chance.choice((0, 500))
            self._strike(f"write applied, answered with {status or 'nothing'}")
            raise _error(path, status)
        return effect()

    def batch(self, changes: list[Change]) -> list[Change]:
        """Late, doubled, or lost: then the watch begins anew with a list."""
        self._held += changes
        if self._clock() < self._silent_until:
            return []
        if self._held and self._bad(self._stale):
            self._strike("cache stale for seconds")
            self._silent_until = min(self._clock() + self._chance.uniform(1, 25), self._until)
            return []
        given, self._held = self._held, []
        if given and self._bad(self._drop):
            self._strike("watch expired (410)")
            self.relist = True
            return []
        if given and self._bad(self._double):
            self._strike("watch events doubled")
            given = [*given, *self._chance.sample(given, self._chance.randint(1, len(given)))]
        return given


def _error(path: str, status: int) -> Exception:
    if path.startswith("head:"):
        return HeadError(0 if status == 409 else status, f"{path}: injected {status}")
    return ApiError(status, path, "injected")


@dataclass
class Verdict:
    """What came of a seed; `faults` empty: as it should."""

    seed: int
    scenario: str
    wrong: list[str]
    struck: Counter[str] = field(default_factory=Counter)

    @property
    def command(self) -> str:
        return f"cd operator && python -m operator_tests.model --seed {self.seed}"


def schedule(seed: int, scenario: str = "") -> Verdict:
    """Runs one seed. Without a scenario, the seed chooses it."""
    scenario = scenario or sorted(ALL)[seed % len(ALL)]
    struck: Counter[str] = Counter()
    calm = _without_faults(scenario)

    async def main(time: VirtualTime) -> list[str]:
        def gate(life: int) -> Gate:
            return Faulty(seed, life, time.monotonic, BAD_TIMES, struck)

        chance = random.Random(seed)
        lag, restart = chance.choice((0.0, 0.2, 0.6)), chance.choice((0.5, 5.0, 40.0))
        async with World(
            time, gate, seed=seed, lag=lag, restart=restart, patience=PATIENCE
        ) as world:
            try:
                await ALL[scenario](world)
                await world.until("bad times are over", lambda: time.now > BAD_TIMES + MENDED)
                await world.rest()
            except (TooLate, AssertionError) as error:
                return [str(error) or "the scenario's own check"]
            return _differences(scenario, world, *calm)

    return Verdict(seed, scenario, virtual_time.run(main, seed=seed), struck)


_calm: dict[str, tuple[Object, Counter[str]]] = {}


def _without_faults(scenario: str) -> tuple[Object, Counter[str]]:
    if scenario not in _calm:

        async def main(time: VirtualTime) -> tuple[Object, Counter[str]]:
            async with World(time, lambda _: Gate()) as world:
                await ALL[scenario](world)
                return world.picture(), world.effects()

        _calm[scenario] = virtual_time.run(main)
    return _calm[scenario]


def _differences(scenario: str, world: World, picture: Object, effects: Counter[str]) -> list[str]:
    """Between the world as it is and as it would be without faults."""
    end, done = world.picture(), _whichever_slot(world.effects())
    effects = _whichever_slot(effects)
    found = [
        f"{name} differs at its end: {_where(picture.get(name), end.get(name))}"
        for name in sorted({*picture, *end})
        if picture.get(name) != end.get(name)
    ]
    found += [
        f"{what}: {done[what]} times instead of {effects[what]}"
        for what in sorted({*effects, *done})
        if what != _STEPS and not _may_vary(scenario, what) and effects[what] != done[what]
    ]
    found += [
        f"a warning where nothing is wrong: {event['reason']} {event['message']}"
        for event in world.server.all("events")
        if event["type"] == "Warning" and not any(w in event["message"] for w in _TRUE_WARNINGS)
    ]
    return found


def _whichever_slot(effects: Counter[str]) -> Counter[str]:
    """A slot that still seems to have pods of a former pipeline is not the one that is taken."""
    found: Counter[str] = Counter()
    for what, count in effects.items():
        found[what.replace("drafter-a", "drafter").replace("drafter-b", "drafter")] += count
    return found


def _may_vary(scenario: str, what: str) -> bool:
    """How far the first of two changes is when the second comes goes by chance; so do its pods."""
    if what == "drained":
        return True  # a head that is silent is not waited for
    return scenario in RACING and what.startswith(("pod", "plan ", "drained", "delete pods"))


def _where(one: object, other: object, path: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                return _where(one.get(key), other.get(key), f"{path}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            if a != b:
                return _where(a, b, f"{path}[{place}]")
    return f"{path or 'whole'}: {str(other)[:160]} instead of {str(one)[:160]}"
