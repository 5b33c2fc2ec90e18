"""What a run of many seeds shows: for people as text, for machines as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from weft.simulation.world import Outcome

SHOWN = 10
"""Failures printed one by one; the rest is counted."""


class Report:
    """Adds up outcomes."""

    def __init__(self) -> None:
        self.schedules: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self.broken: list[Outcome] = []
        self.hops = 0
        self.reissued = 0
        self.virtual = 0.0
        self.cost = 0.0

    def add(self, outcome: Outcome) -> None:
        self.schedules[outcome.schedule.mix] += 1
        self.struck.update(outcome.struck)
        self.hops += outcome.hops
        self.reissued += outcome.reissued
        self.virtual += outcome.virtual
        self.cost += outcome.cost
        if outcome.broken:
            self.broken.append(outcome)

    def extend(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self.add(outcome)

    @property
    def count(self) -> int:
        return sum(self.schedules.values())

    def text(self, command: str) -> str:
        """`command` is what replays a seed, up to the seed itself."""
        count = max(1, self.count)
        lines = [
            f"{self.count} schedules, {len(self.broken)} broken; "
            f"{self.cost / count * 1000:.1f} ms of CPU and {self.virtual / count:.1f} virtual "
            f"seconds each; {self.hops} hops took effect, {self.reissued} rows were issued again",
            "by mix: " + ", ".join(f"{mix} {n}" for mix, n in sorted(self.schedules.items())),
            "what struck, and how often:",
        ]
        width = max((len(name) for name in self.struck), default=0)
        lines += [f"  {name:<{width}}  {self.struck[name]:>9}" for name in sorted(self.struck)]
        for outcome in self.broken[:SHOWN]:
            schedule = outcome.schedule
            lines += [f"BROKEN  {outcome.broken}", f"  replay: {command} --seed {schedule.seed}"]
        if len(self.broken) > SHOWN:
            lines.append(f"… and {len(self.broken) - SHOWN} more")
        return "\n".join(lines)

    def json(self) -> str:
        return json.dumps(
            {
                "schedules": dict(self.schedules),
                "broken": [[o.schedule.seed, o.schedule.mix, o.broken] for o in self.broken],
                "struck": dict(sorted(self.struck.items())),
                "hops": self.hops,
                "reissued": self.reissued,
                "msPerSchedule": self.cost / max(1, self.count) * 1000,
            },
            indent=1,
        )
