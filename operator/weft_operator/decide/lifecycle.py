"""What shall become of a pipeline's cluster: run, sleep, be kept after the end, or go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Wish = Literal["run", "sleep", "keep", "remove"]
"""`keep`: what is there stays as it is, and what is gone stays gone."""


@dataclass(frozen=True)
class Course:
    wish: Wish
    finished: bool = False
    remove_in: float | None = None
    """Seconds until a finished pipeline's cluster is due to go."""


def course(
    *,
    suspend: bool,
    finished: bool,
    finished_at: float,
    ttl_seconds: int | None,
    now: float,
) -> Course:
    """`finished`: every row of the Plan that is out has been committed.

    A finished pipeline starts again only by a changed Plan, which makes it unfinished. So one whose
    cluster has been removed does not come back to find that nothing is left to do.
    """
    if not finished:
        return Course("sleep" if suspend else "run")
    if ttl_seconds is None:
        return Course("sleep" if suspend else "keep", finished=True)
    left = finished_at + ttl_seconds - now
    if left <= 0:
        return Course("remove", finished=True)
    return Course("sleep" if suspend else "keep", finished=True, remove_in=left)
