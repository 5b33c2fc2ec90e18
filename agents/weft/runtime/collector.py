"""Python's garbage collector, told what a process of ours is like.

A row on its way is a few dozen objects that others point at, without cycles: reference counting
frees them. By its defaults the collector looks through them every 700 new ones, and now and then
through all that Ray, pydantic and the engine have loaded: a third of what a hop costs.
"""

from __future__ import annotations

import gc

YOUNG = 20_000
"""New containers, less freed ones, before the young are looked through. What lies in cycles
waits so long: some megabytes."""


def spare() -> None:
    """Call once all is loaded, before the first row: what is there now is never looked at again.
    (Not swept first: that costs tenths of a second at each start, for a megabyte at the most.)"""
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)
