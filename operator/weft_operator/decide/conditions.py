"""Conditions in Kubernetes' form, such that kstatus (Flux, Argo CD, kubectl wait) reads them right.

Ready says whether it does its work; Progressing whether something is under way towards that;
Stalled whether somebody has to act. Messages hold no counts that move by themselves: a status that
only says the same again would be a write for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from weft_operator.facts import timestamp
from weft_operator.jsontypes import Object

OURS: Final = ("Ready", "Progressing", "Stalled")
DRAINED: Final = "Drained"
"""There, and False, while a pipeline that is suspended finishes what it has in hand; its time says
since when."""
_LONGEST: Final = 4096
"""Bytes; the API's own bound on a condition's message is 32,768."""


@dataclass(frozen=True)
class State:
    """How something stands. At most one of `progressing` and `stalled` is True."""

    reason: str
    message: str
    ready: bool = False
    progressing: bool = False
    stalled: bool = False
    extra: tuple[tuple[str, bool, str, str], ...] = ()
    """Further conditions: type, status, reason, message."""


def conditions(
    state: State, before: Sequence[Mapping[str, Any]], *, generation: int, now: float
) -> list[Object]:
    """The list for the status; times of conditions that stand as before are kept, and so are
    conditions that are not ours."""
    given: list[tuple[str, bool, str, str]] = [
        ("Ready", state.ready, state.reason, state.message),
        ("Progressing", True, state.reason, state.message)
        if state.progressing
        else ("Progressing", False, "Idle", "nothing is under way"),
        ("Stalled", True, state.reason, state.message)
        if state.stalled
        else ("Stalled", False, "AsWanted", "nobody has to act"),
        *state.extra,
    ]
    known = {c.get("type", ""): c for c in before}
    made = [_condition(*c, known.get(c[0]), generation, now) for c in given]
    names = {c["type"] for c in made}
    foreign = [dict(c) for c in before if c.get("type") not in names and not _was_ours(c)]
    return [*made, *foreign]


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Of a resource's status; empty where it has none of that kind."""
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), {})


def _was_ours(condition: Mapping[str, Any]) -> bool:
    return condition.get("type") in (*OURS, DRAINED, "GPUsMatched")


def _condition(
    kind: str,
    status: bool,
    reason: str,
    message: str,
    before: Mapping[str, Any] | None,
    generation: int,
    now: float,
) -> Object:
    word = "True" if status else "False"
    unchanged = before is not None and before.get("status") == word
    since = before.get("lastTransitionTime") if before is not None and unchanged else None
    return {
        "type": kind,
        "status": word,
        "reason": reason,
        "message": message if len(message) <= _LONGEST else message[: _LONGEST - 1] + "…",
        "lastTransitionTime": since or timestamp(now),
        "observedGeneration": generation,
    }
