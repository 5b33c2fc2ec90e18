"""Which step a row goes to next: the manifest's flow, ready to be asked at every hop. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from weft.flow.conditions import Condition, ConditionError
from weft.row import Row
from weft_api.flow import ACCEPT, REJECT

if TYPE_CHECKING:
    from weft_api.flow import FanOut
    from weft_api.plan import Flow

__all__ = ["ACCEPT", "DIVIDE", "REJECT", "FlowError", "Graph"]

DIVIDE = "$divide"
"""In the place of a next step: the row goes on in branches."""


class FlowError(Exception):
    """The flow has no way on for this row. One line, for the dead letter."""


class Graph:
    """The steps and their edges. Raises `ConditionError` when a `when` does not compile.

    `maxHops` is not checked here but where hops are counted.
    """

    def __init__(self, flow: Flow) -> None:
        self.entry = flow.entry
        self._edges: dict[str, list[tuple[str, Condition | None]]] = {
            step.name: [
                (edge.to, None if edge.when is None else Condition(edge.when)) for edge in step.next
            ]
            for step in flow.steps
        }
        self._fans = {step.name: step.fan_out for step in flow.steps if step.fan_out is not None}

    def fan_out(self, step: str) -> FanOut:
        """What a row is divided into there. Raises KeyError where it is not."""
        return self._fans[step]

    @property
    def steps(self) -> list[str]:
        """The names of the steps, in the manifest's order."""
        return list(self._edges)

    def next_step(self, step: str, row: Row, returned: str | None) -> str:
        """The name of the step that follows `step`, or `$accept`, `$reject` or `$divide`.

        `returned` is what the agent's `handle` gave: a name must be the target of an edge from
        `step` (its `when` is then not asked); None takes the first edge whose `when` holds.
        Raises `FlowError`.
        """
        edges = self._edges.get(step)
        if edges is None:
            raise FlowError(f"flow has no step `{step}`; it has {_listed(self._edges)}")
        if returned is not None:
            return self._allowed(step, edges, returned)
        for to, condition in edges:
            try:
                if condition is None or condition.holds(row):
                    return to
            except ConditionError as error:
                raise FlowError(f"flow.steps[{step}].next[{to}].when: {error}") from None
        if step in self._fans:
            return DIVIDE
        raise FlowError(
            f"flow.steps[{step}].next: no edge's `when` holds for this row; "
            "end the list with an edge that has no `when`"
        )

    def _allowed(self, step: str, edges: list[tuple[str, Condition | None]], returned: str) -> str:
        targets = [to for to, _ in edges]
        if returned in targets:
            return returned
        if not isinstance(returned, str):
            raise FlowError(
                f"the agent of step `{step}` returned a {type(returned).__name__}; "
                "`handle` gives None or the name of a step"
            )
        close = get_close_matches(returned, targets, n=1)
        hint = f"did it mean `{close[0]}`?" if close else f"from here it allows {_listed(targets)}"
        raise FlowError(
            f"the agent of step `{step}` returned `{returned[:80]}`, "
            f"which flow.steps[{step}].next does not name; {hint}"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
