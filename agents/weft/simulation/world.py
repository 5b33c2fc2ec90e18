"""The world of one schedule: its processes, its faults, its end."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache

from weft.protocol.link import Link
from weft.protocol.node import Node
from weft.simulation.agent_process import AgentProcess
from weft.simulation.clock import Clock
from weft.simulation.head_process import HeadProcess, row_key
from weft.simulation.machines import REAL, Machines
from weft.simulation.network import Network
from weft.simulation.oracle import Broken, Oracle, leftovers
from weft.simulation.process import Process
from weft.simulation.schedule import LONGEST, Fault, Schedule
from weft.simulation.table import Table
from weft.simulation.writer_process import WriterProcess

ENDS_WITHIN = 100.0
"""Seconds of calm, besides the work itself one row after the other, in which every row must have
ended and every process be at rest: a few times the longest chain of time-outs (lease, grace, a wait
for segments, two censuses)."""
LOOKS_EVERY = 1.0
ZOMBIE_HEAD_LIVES = 2.0
"""Seconds that a replaced head goes on after it has woken: nobody tells it."""


@dataclass
class Outcome:
    """What came of a schedule. `broken` is empty when all held."""

    schedule: Schedule
    broken: str
    struck: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    virtual: float = 0.0
    """Seconds that passed inside."""
    cost: float = 0.0
    """Seconds of CPU."""
    hops: int = 0
    reissued: int = 0


class World:
    def __init__(self, schedule: Schedule, machines: Machines, log: list[str] | None) -> None:
        self.schedule = schedule
        self.machines = machines
        self.rng = random.Random(schedule.seed)
        self.clock = Clock()
        self.struck: Counter[str] = Counter()
        self.network = Network(self.clock, self.rng, self.struck)
        self.network.delay = schedule.delay
        self.network.loss = schedule.loss
        self.network.duplication = schedule.duplication
        self.network.reordering = schedule.reordering
        self.table = Table(schedule.partitions)
        self.oracle = Oracle(schedule)
        self.rows = [row_key(i, schedule.source_partitions) for i in range(schedule.rows)]
        self.buried = {row for row in self.rows if self.rng.random() < schedule.buried}
        self.poisonous = {self.rows[i] for i in schedule.poison if i < len(self.rows)}
        self.calm = False
        self.processes: dict[str, Process] = {}
        self.head: HeadProcess = HeadProcess(self, "head")
        self._add(self.head)
        for step, count in schedule.agents.items():
            for number in range(count):
                self._add(AgentProcess(self, f"{step}-{number}", step))
        for number in range(schedule.writers):
            self._add(WriterProcess(self, f"writer-{number}"))
        self._log = log
        self._marks = 0

    def _add(self, process: Process) -> None:
        self.processes[process.name] = process
        process.start()

    # for the processes

    def fit(self, node: Node) -> None:
        """Give a new node the links and the patience of this schedule."""
        node.unreachable_after = self.schedule.unreachable
        if self.schedule.small_frames:
            node.link_type = small(node.link_type)

    def mark(self) -> int:
        """A number for one hop."""
        self._marks += 1
        return self._marks

    def trace(self, what: str, *more: object) -> None:
        if self._log is not None:
            said = " ".join(str(part) for part in more)
            self._log.append(f"{self.clock.now:9.3f}  {what:<14} {said}")

    def commit_fault(self) -> str:
        """What befalls this commit; "" for nothing."""
        schedule = self.schedule
        if self.calm:
            return ""
        dice = self.rng.random()
        for share, fault in (
            (schedule.commit_before, "before"),
            (schedule.commit_unknown, "unknown"),
            (schedule.commit_death / 2, "death before"),
            (schedule.commit_death / 2, "death after"),
        ):
            if dice < share:
                return fault
            dice -= share
        return ""

    def strike_dead(self, process: Process, life: int) -> None:
        if process.life == life:
            process.kill()
            self.clock.after(0.5, self.revive, process)

    def revive(self, process: Process) -> None:
        """Start the process again, unless it runs or another has its place."""
        if process.state == "down" and not process.replaced:
            self.trace("start", process.name)
            process.start()

    # the faults

    def run(self) -> None:
        for fault in self.schedule.faults:
            self.clock.after(fault.at, self._strike, fault)
        self.clock.after(self.schedule.calm, self._becalm)
        self.clock.after(LOOKS_EVERY, self._look)
        schedule = self.schedule
        work = schedule.rows * LONGEST * schedule.work * 2
        self.clock.run(until=schedule.calm + ENDS_WITHIN + work)
        for process in self.processes.values():
            if isinstance(process, HeadProcess) and process.node is not None:
                self.oracle.reissued += process.node.reissued
        self.oracle.at_the_end(self)

    def _look(self) -> None:
        """Stop when all has ended and nothing moves."""
        for process in self.processes.values():
            if process.node is not None:
                self.oracle.watch(process.node)
        ends = self.table.ends
        accepted = sum(end == "accepted" for end in ends.values())
        if (len(ends) == len(self.rows) or accepted == self.schedule.target) and not leftovers(
            self
        ):
            self.clock.stopped = True
        else:
            self.clock.after(LOOKS_EVERY, self._look)

    def _strike(self, fault: Fault) -> None:
        struck = self.struck
        self.trace("FAULT", fault.kind, ",".join(fault.targets), f"{fault.lasts:.2f} s")
        targets = [self.processes[name] for name in fault.targets if name in self.processes]
        kind = fault.kind
        after = self.clock.after
        if kind in ("kill", "kill several", "kill all"):
            for process in targets:
                if process.state != "down":
                    struck[f"{kind}: {process.role}"] += 1
                    self.oracle.dies(self, process)
                process.kill()
                after(fault.lasts, self.revive, process)
        elif kind in ("pause", "pause long"):
            for process in targets:
                if process.state == "up":
                    struck[f"{kind}: {process.role}"] += 1
                process.pause()
                after(fault.lasts, process.wake)
        elif kind == "replace":
            for process in targets:
                self._replace(process, fault.lasts)
        elif kind == "break":
            self.network.break_between(*targets)
        elif kind in ("partition", "partition one way"):
            self._part(set(fault.targets), kind == "partition", fault.lasts)
        elif kind == "drain":
            for process in targets:
                assert isinstance(process, AgentProcess)
                if process.state == "up" and process.node is not None:
                    struck["drain"] += 1
                process.fire(process.life, process.drain)
        elif kind == "scale up":
            for process in targets:
                assert isinstance(process, AgentProcess)
                struck["scale up"] += 1
                self._add(AgentProcess(self, f"{process.name}+{len(self.processes)}", process.step))
        elif kind == "cut":
            a, b = fault.targets
            struck["cut between two"] += 1
            self.network.cut |= {(a, b), (b, a)}
            self.network.break_blocked()
            after(fault.lasts, self._rejoin, {(a, b), (b, a)})
        elif kind == "slow":
            for process in targets:
                if isinstance(process, AgentProcess):
                    struck["slow agent"] += 1
                    process.slowness = 6.0
                    after(fault.lasts, setattr, process, "slowness", 1.0)

    def _replace(self, process: Process, lasts: float) -> None:
        """The process hangs, is given up, and a successor takes its place; later it wakes."""
        if process.state != "up" or process.replaced:
            return
        self.struck[f"replaced while it slept: {process.role}"] += 1
        process.pause()
        process.replaced = True
        if isinstance(process, HeadProcess):
            successor: Process = HeadProcess(self, f"{process.name}'")
            self.head = successor  # type: ignore[assignment]
        else:
            assert isinstance(process, WriterProcess)
            successor = WriterProcess(self, f"{process.name}'")
        self.trace("start", successor.name)
        self._add(successor)
        self.clock.after(lasts, process.wake)
        if isinstance(process, HeadProcess):
            self.clock.after(lasts + ZOMBIE_HEAD_LIVES, process.kill)

    def _part(self, some: set[str], both_ways: bool, lasts: float) -> None:
        others = set(self.processes) - some
        ways = {(a, b) for a in some for b in others}
        if both_ways:
            ways |= {(b, a) for a, b in ways}
        self.struck["partition" if both_ways else "partition one way"] += 1
        self.network.blocked |= ways
        self.network.break_blocked()
        self.clock.after(lasts, self._heal, ways)

    def _heal(self, ways: set[tuple[str, str]]) -> None:
        self.network.blocked -= ways

    def _rejoin(self, ways: set[tuple[str, str]]) -> None:
        self.network.cut -= ways

    def _becalm(self) -> None:
        """The end of all faults: everything that shall run does, and nothing is lost any more."""
        self.trace("CALM")
        self.calm = True
        network = self.network
        network.blocked.clear()
        network.cut.clear()
        network.loss = network.duplication = network.reordering = 0.0
        for process in list(self.processes.values()):
            process.wake()
            self.revive(process)


@cache
def small(link_type: type[Link]) -> type[Link]:
    """The links with frames so small that even a few rows fill the window."""
    return type(
        f"Small{link_type.__name__}",
        (link_type,),
        {"__slots__": (), "FRAME_MESSAGES": 2, "COMPANY": 1, "WINDOW": 3},
    )


def simulate(schedule: Schedule, machines: Machines = REAL, *, trace: bool = False) -> Outcome:
    """Run the schedule to its end. What the oracle finds broken, and what the machines themselves
    refuse, is in the outcome; nothing is raised."""
    log: list[str] | None = [] if trace else None
    began = time.process_time()
    world = World(schedule, machines, log)
    broken = ""
    try:
        world.run()
    except Broken as fault:
        broken = str(fault)
    except (AssertionError, KeyError, IndexError, ValueError, TypeError, AttributeError) as fault:
        if log is None:
            broken = f"crash: {type(fault).__name__}: {fault}"
        else:
            raise
    return Outcome(
        schedule,
        broken,
        world.struck,
        log or [],
        world.clock.now,
        time.process_time() - began,
        world.oracle.hops,
        world.oracle.reissued,
    )
