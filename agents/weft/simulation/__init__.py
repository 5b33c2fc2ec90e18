"""A world in one process and in virtual time, where the real state machines meet every fault.

`generate(seed)` makes a schedule: a small pipeline, a workload, and faults. `simulate(schedule)`
runs it: first with the faults, then without, until every row has ended or the time is up. The
oracle watches, and says what was broken. One seed gives one run, to the last frame.

    python -m weft.simulation --seeds 0:20000 --jobs 2
    python -m weft.simulation --seed 1234 --trace

Read in this order: `schedule`, `world`, `process` and the processes, `network`, `table`, `oracle`.
"""

from weft.simulation.schedule import Schedule, generate
from weft.simulation.world import Outcome, simulate

__all__ = ["Outcome", "Schedule", "generate", "simulate"]
