"""Divided rows: each branch leads to its join, and cannot leave on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from weft_api.errors import ManifestError, Path, did_you_mean
from weft_api.flow import ACCEPT, MOST_BRANCHES, FlowSpec, Step
from weft_api.pipeline import SyntheticPipeline

STEPS = ("spec", "flow", "steps")


def ways_of(step: Step) -> set[str]:
    """All that a row can go to from here, in branches or as a whole."""
    ways = {edge.to for edge in step.next}
    if step.fan_out is not None:
        ways |= {step.fan_out.join, *(way.to for way in step.fan_out.branches)}
    return ways


def branch_faults(
    pipeline: SyntheticPipeline, at: int, step: Step, names: set[str]
) -> Iterator[ManifestError]:
    fan = step.fan_out
    if fan is None:
        return
    path = (*STEPS, at, "fanOut")
    named: list[tuple[Path, str]] = [(("join",), fan.join)]
    named += [(("branches", n, "to"), way.to) for n, way in enumerate(fan.branches)]
    unknown = False
    for field, name in named:
        if name not in names:
            unknown = True
            problem = f'step "{name}" does not exist'
            yield pipeline.fault((*path, *field), problem, did_you_mean(name, names))
    if (count := len(fan.ways)) > MOST_BRANCHES:
        problem = f"{count} branches are more than the {MOST_BRANCHES} that a row may have"
        yield pipeline.fault((*path, "branches"), problem, "lower a `count`")
    if fan.join == step.name:
        problem = "the step that divides the row cannot join it as well"
        yield pipeline.fault((*path, "join"), problem, "join it at a step of its own")
        return
    if not unknown:
        yield from _ways_to_the_join(pipeline, path, step)


def _ways_to_the_join(
    pipeline: SyntheticPipeline, path: Path, step: Step
) -> Iterator[ManifestError]:
    fan = step.fan_out
    assert fan is not None
    flow = pipeline.spec.flow
    inside = _inside(flow, fan.join)
    for n, way in enumerate(fan.branches):
        here = (*path, "branches", n, "to")
        if way.to == fan.join:
            yield pipeline.fault(
                here, f'a branch that begins at its join "{fan.join}" has nothing to do',
                "name a step before the join",
            )  # fmt: skip
            continue
        reached = closure({way.to}, inside)
        if ACCEPT in reached:
            yield pipeline.fault(
                here,
                f'from "{way.to}" a branch can come to {ACCEPT}, past its join "{fan.join}"',
                f"lead the branch's ways to {fan.join}; only whole rows are accepted",
            )
        elif fan.join not in reached:
            yield pipeline.fault(
                here,
                f'no way leads from "{way.to}" to the join "{fan.join}"',
                f"give one of its steps a way to {fan.join}",
            )
        dividing = {one.name for one in flow.steps if one.fan_out is not None}
        if again := sorted(reached & dividing):
            yield pipeline.fault(
                here,
                f'a branch comes to step "{again[0]}", which divides rows itself',
                "join the branches first: a branch cannot be divided again",
            )


def _inside(flow: FlowSpec, join: str) -> dict[str, set[str]]:
    """The ways of branches: at the join their own way ends."""
    return {
        step.name: set() if step.name == join else {edge.to for edge in step.next}
        for step in flow.steps
    }


def closure(start: set[str], edges: Mapping[str, set[str]]) -> set[str]:
    """All that can be reached from `start`, itself included."""
    seen, todo = set(start), list(start)
    while todo:
        for name in edges.get(todo.pop(), set()) - seen:
            seen.add(name)
            todo.append(name)
    return seen
