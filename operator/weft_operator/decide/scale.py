"""How many agents a pool with `autoscaling` shall have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from weft_api.pool import Autoscaling
from weft_operator.facts import Instance

UP_SECONDS: Final = 15.0
DOWN_SECONDS: Final = 120.0
"""How long the inbox must have asked for fewer agents before one leaves. GPU pods start slowly, so
that a short lull must not cost one (the same idea as `stabilizationWindowSeconds` of Kubernetes'
HorizontalPodAutoscaler)."""
_LOOKS: Final = 512
TOLERANCE: Final = 0.1
"""Change smaller than this share of the target is none (as with the HorizontalPodAutoscaler)."""


@dataclass(frozen=True)
class Memory:
    """What the autoscaler remembers between two looks; forgetting it delays a step, no more."""

    wanted: tuple[tuple[float, int], ...] = ()
    """(time, agents that the inbox asked for), newest last."""


def replicas(
    autoscaling: Autoscaling,
    current: int,
    instances: Sequence[Instance] | None,
    memory: Memory,
    now: float,
) -> tuple[int, Memory]:
    """(agents to have, memory). Without a word from the head (`instances` None) nothing changes.

    At most doubles in one step; goes down to the most that was asked for in the window.
    """
    low, high = autoscaling.min, autoscaling.max
    current = min(max(current, low), high)
    serving = [i for i in instances or () if i.state == "serving"]
    if not serving:
        return current, memory
    waiting = sum(i.inbox for i in serving)
    asked = min(max(math.ceil(waiting / autoscaling.target_inbox), low), high)
    aim = autoscaling.target_inbox * len(serving)
    if abs(waiting - aim) <= TOLERANCE * aim:
        asked = current
    # One look beyond the window stays, or it would never be known to be covered.
    recent = [(at, n) for at, n in memory.wanted if now - at <= 2 * DOWN_SECONDS]
    memory = Memory((*recent, (now, asked))[-_LOOKS:])
    if asked > current:
        lasting = min(_window(memory, now, UP_SECONDS), default=current)
        return min(max(lasting, current), current * 2), memory
    lasting = max(_window(memory, now, DOWN_SECONDS), default=current)
    return min(lasting, current), memory


def _window(memory: Memory, now: float, length: float) -> list[int]:
    """What was asked for in the last seconds; empty while that is not known for all of them."""
    if memory.wanted[0][0] > now - length:
        return []
    return [n for at, n in memory.wanted if now - at <= length]
