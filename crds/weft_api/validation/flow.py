"""The flow as a graph: every step exists, is reached, and leads to an end."""

from __future__ import annotations

from collections.abc import Iterator

from weft_api.errors import ManifestError, did_you_mean
from weft_api.flow import ACCEPT, ENDS, FlowSpec, Step
from weft_api.pipeline import SyntheticPipeline
from weft_api.validation.branches import branch_faults, closure, ways_of

FLOW = ("spec", "flow")


def flow_faults(pipeline: SyntheticPipeline) -> Iterator[ManifestError]:
    flow = pipeline.spec.flow
    names = {step.name for step in flow.steps}
    if flow.entry not in names:
        yield pipeline.fault(
            (*FLOW, "entry"), f'step "{flow.entry}" does not exist', did_you_mean(flow.entry, names)
        )
    for at, step in enumerate(flow.steps):
        yield from _ways_out(pipeline, at, step, names)
        yield from branch_faults(pipeline, at, step, names)
    # Two steps of one name are a fault of their own, and leave no graph to follow.
    if flow.entry in names and len(names) == len(flow.steps):
        yield from _reach(pipeline, flow)


def _ways_out(
    pipeline: SyntheticPipeline, at: int, step: Step, names: set[str]
) -> Iterator[ManifestError]:
    path = (*FLOW, "steps", at, "next")
    always: str | None = None
    for n, edge in enumerate(step.next):
        if edge.to not in names | ENDS:
            yield pipeline.fault(
                (*path, n, "to"),
                f'step "{edge.to}" does not exist',
                did_you_mean(edge.to, names | ENDS),
            )
        if edge.when is not None and always is not None:
            yield pipeline.fault(
                (*path, n),
                f'the way to "{edge.to}" is never taken: the way to "{always}" before it has no '
                "condition",
                "put the way without `when` last",
            )
        if edge.when is None and always is None:
            always = edge.to
    if always is None and step.next and step.fan_out is None:
        yield pipeline.fault(
            (*path, len(step.next) - 1),
            f'step "{step.name}" has conditions on all its ways out, so a row may find none',
            "add a last way without `when`, such as {to: $reject}",
        )


def _reach(pipeline: SyntheticPipeline, flow: FlowSpec) -> Iterator[ManifestError]:
    forward = {step.name: ways_of(step) for step in flow.steps}
    backward: dict[str, set[str]] = {}
    for name, targets in forward.items():
        for target in targets:
            backward.setdefault(target, set()).add(name)
    reached = closure({flow.entry}, forward)
    ending = closure(set(ENDS), backward)
    unknown = {
        name for name, ways in forward.items() if not ways or ways - forward.keys() - ENDS
    }  # Faults that are told already.
    may_end = ending | closure(unknown, backward)
    told: set[str] = set()
    for at, step in enumerate(flow.steps):
        path = (*FLOW, "steps", at)
        if step.name not in reached and not unknown & reached:
            yield pipeline.fault(
                (*path, "name"),
                f'no way leads from "{flow.entry}" to step "{step.name}"',
                "let another step's next name it, or remove it",
            )
        elif step.name not in may_end and step.name not in told:
            told |= (trapped := closure({step.name}, forward))
            around = ", ".join(sorted(trapped))
            yield pipeline.fault(
                (*path, "next"),
                f'rows that come to step "{step.name}" can never end: they only go round {around}',
                f"give one of these steps a way to {ACCEPT} or $reject",
            )
