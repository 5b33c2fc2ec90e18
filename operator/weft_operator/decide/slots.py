"""Which slot of a pool serves, and the next step of a rollout.

A pool has two worker groups, its slots. At rest one holds the wanted revision with all replicas
and the other none. A change of revision goes slot by slot: the new revision is written to the idle
slot, its pods come a few at a time, and for each that serves one of the old ones leaves, by name.
The pods that serve are never fewer than before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

SURGE: Final = 0.25
"""Pods beyond the wanted ones during a rollout, as a share of them, at least one (Kubernetes'
Deployments have the same default)."""

Phase = Literal["settled", "starting", "rolling", "scaling", "clearing", "held"]


@dataclass(frozen=True)
class SlotPod:
    """A pod of a slot."""

    name: str
    serving: bool
    """Ready, not being deleted, and known to the head as one that serves."""
    deleting: bool = False
    load: int = 0
    """Rows that it has; the least loaded leaves first."""
    age: float = 0.0
    """Seconds since its creation; among equals the youngest leaves first."""


@dataclass(frozen=True)
class Slot:
    """A worker group as it is."""

    name: str
    revision: str
    """Of its template; empty when it was never used."""
    replicas: int
    leaving: tuple[str, ...] = ()
    """`workersToDelete` as it stands."""
    pods: tuple[SlotPod, ...] = ()

    @property
    def idle(self) -> bool:
        return self.replicas == 0 and not self.present

    @property
    def present(self) -> list[SlotPod]:
        """Pods that are not on their way out."""
        return [p for p in self.pods if not p.deleting and p.name not in self.leaving]

    @property
    def serving(self) -> int:
        return sum(pod.serving for pod in self.present)


@dataclass(frozen=True)
class SlotTarget:
    """A worker group as it shall be. `revision` differs from the slot's: a new template."""

    name: str
    revision: str
    replicas: int
    leaving: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """What to write next, and what it is about."""

    slots: tuple[SlotTarget, ...]
    live: str
    """Slot of the wanted revision."""
    phase: Phase
    current_revision: str
    """Revision that most serving pods have; the wanted one when none serves."""


def next_step(
    slots: Sequence[Slot],
    *,
    revision: str,
    replicas: int,
    hold: str = "",
    judged: bool = True,
    asleep: bool = False,
) -> Step:
    """The next step towards `replicas` pods of `revision`; the same as now when nothing is due.

    `hold` (a reason) keeps a rollout where it is, as gates will do. `judged` is False while it is
    not known who serves (the head does not answer): then nothing that serves is taken away.
    `asleep`: the cluster is to have no pods (suspended, or not made yet), so that a new revision
    needs no rollout.
    """
    first, second = slots
    new, old = _assign(first, second, revision)
    if asleep:
        return _step(
            _resize(new, revision, replicas, new.replicas), _emptied(old), new, old, revision
        )
    if new.revision != revision and not new.idle:
        # Both slots are in use by other revisions: the one that serves less makes room first.
        return _clear(old, new, revision, replicas)
    # A slot that was never used serves nobody, even if somebody has scaled it by hand.
    rolling = bool(old.revision and (old.replicas or old.present))
    if not rolling:
        target = _resize(new, revision, replicas, new.replicas)
        return _step(target, _emptied(old), new, old, revision)
    if hold:
        held = (_resize(new, new.revision, new.replicas, new.replicas), _kept(old))
        return _step(*held, new, old, revision, phase="held")
    if not judged and replicas:
        return _step(_kept(new, revision), _kept(old), new, old, revision)
    return _roll(new, old, revision, replicas)


def _assign(first: Slot, second: Slot, revision: str) -> tuple[Slot, Slot]:
    """(slot for the wanted revision, the other one)."""
    have = [slot for slot in (first, second) if slot.revision == revision]
    if have:
        new = max(have, key=lambda s: (s.replicas, s.serving, s is first))
    else:
        free = [slot for slot in (first, second) if slot.idle]
        new = free[0] if free else min((second, first), key=lambda s: (s.serving, s.replicas))
    return new, (second if new is first else first)


def _clear(live: Slot, abandoned: Slot, revision: str, replicas: int) -> Step:
    """A third revision while two are out: back to one, then on."""
    # What the abandoned slot serves is first made good by the live one.
    missing = max(0, replicas - live.serving)
    leave = abandoned.serving <= 0 or missing == 0
    keep = 0 if leave else min(abandoned.replicas, missing)
    gone = _resize(abandoned, abandoned.revision, keep, abandoned.replicas)
    back = _resize(live, live.revision, max(live.replicas, replicas), live.replicas)
    return _step(gone, back, abandoned, live, revision, phase="clearing")


def _roll(new: Slot, old: Slot, revision: str, replicas: int) -> Step:
    surge = max(1, math.ceil(replicas * SURGE))
    # The old slot may fall to what the new one does not yet make good …
    serving_new = new.serving if new.revision == revision else 0
    keep_old = min(old.replicas, max(0, replicas - serving_new))
    # … and pods that serve nobody go at once, unless they are still to start.
    target_old = _resize(old, old.revision, keep_old, old.replicas)
    # … while the new one may rise as far as the surge allows beside what then still stands.
    room = max(0, replicas + surge - keep_old)
    want_new = min(replicas, max(new.replicas if new.revision == revision else 0, room))
    target_new = _resize(new, revision, want_new, new.replicas)
    return _step(target_new, target_old, new, old, revision, phase="rolling")


def _resize(slot: Slot, revision: str, replicas: int, now: int) -> SlotTarget:
    """To that many replicas; who has to leave is named, never left to KubeRay's choice."""
    if replicas == 0:
        return SlotTarget(slot.name, revision, 0)  # all go, so none has to be named
    still_there = {pod.name for pod in slot.pods}
    # A name stays until its pod is gone: see kuberay.WorkerGroup.
    leaving = [name for name in slot.leaving if name in still_there]
    excess = len(slot.present) - replicas
    if replicas < now and excess > 0:
        order = sorted(slot.present, key=lambda p: (p.serving, p.load, p.age, p.name))
        leaving += [pod.name for pod in order[:excess]]
    return SlotTarget(slot.name, revision, replicas, tuple(leaving))


def _kept(slot: Slot, revision: str = "") -> SlotTarget:
    return SlotTarget(slot.name, revision or slot.revision, slot.replicas, slot.leaving)


def _emptied(slot: Slot) -> SlotTarget:
    return _resize(slot, slot.revision, 0, slot.replicas)


def _step(
    target_new: SlotTarget,
    target_old: SlotTarget,
    new: Slot,
    old: Slot,
    revision: str,
    *,
    phase: Phase | None = None,
) -> Step:
    serving = {slot.revision: slot.serving for slot in (old, new) if slot.serving}
    current = max(serving, key=lambda r: serving[r]) if serving else revision
    if phase is None:
        settled = new.serving >= target_new.replicas and len(new.present) == target_new.replicas
        changed = target_new.replicas != new.replicas or len(new.present) > target_new.replicas
        phase = "settled" if settled else "scaling" if changed and new.revision else "starting"
    ordered = tuple(sorted((target_new, target_old), key=lambda t: t.name))
    return Step(ordered, new.name, phase, current)
