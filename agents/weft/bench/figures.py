"""What a benchmark finds: figures, each with its unit and, where there is one, its limit."""

from __future__ import annotations

from typing import Literal

import msgspec

from weft.bench import machine


class Limit(msgspec.Struct, frozen=True):
    """What a figure is held against."""

    kind: Literal["at least", "at most"]
    value: float

    def met(self, value: float) -> bool:
        return value >= self.value if self.kind == "at least" else value <= self.value


class Figure(msgspec.Struct):
    """One line of the table."""

    name: str
    value: float
    unit: str = ""
    limit: Limit | None = None
    note: str = ""
    """How it was measured, or what it stands beside; a few words."""

    @property
    def met(self) -> bool | None:
        """Whether the limit is held; None without a limit."""
        return None if self.limit is None else self.limit.met(self.value)


class Result(msgspec.Struct):
    """One benchmark, as run."""

    bench: str
    simulated: str
    """What was not real, and the settings that matter; a line for people."""
    cores: int
    load: float
    """The machine's load average over a minute before the start: above a few tenths, other work
    took its share of the cores."""
    settings: dict[str, float | str]
    figures: list[Figure]
    python: str = msgspec.field(default_factory=machine.python)
    step: float = msgspec.field(default_factory=machine.step)
    """How fast the interpreter is: see `machine.step`."""

    @property
    def missed(self) -> list[Figure]:
        return [figure for figure in self.figures if figure.met is False]


def at_least(value: float) -> Limit:
    return Limit("at least", value)


def at_most(value: float) -> Limit:
    return Limit("at most", value)


def quantile(values: list[float], share: float) -> float:
    """The smallest of the values that `share` of them do not exceed. `values` is not empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
