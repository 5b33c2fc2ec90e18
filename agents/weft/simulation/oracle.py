"""What must hold, watched from outside: the oracle knows the whole world and trusts no machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from weft.protocol.agent import AgentNode
from weft.protocol.message import DEAD, REJECT, Done, Lane
from weft.protocol.source import SourceNode
from weft.protocol.writer import Finished, WriterNode
from weft.simulation.agent_process import Hop, decode_body, decode_hop
from weft.simulation.schedule import Schedule

if TYPE_CHECKING:
    from weft.protocol.node import Node
    from weft.simulation.process import Process
    from weft.simulation.world import World

_WAY_TO = {"accepted": "$accept", "rejected": "$reject"}


def _is_of(branch: int, hop: Hop) -> bool:
    return hop.branch == branch


class Broken(Exception):
    """Something that must hold does not. The text says what, in one line."""


class Oracle:
    """`effective`, `committed`, `told` and `issued` are called as it happens; `at_the_end` once."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.hops = 0
        self.reissued = 0
        self.excused: set[int] = set()
        """Rows of which a segment died with its maker before it was at the writer, and that another
        agent had already sent back to it: that lineage goes on, and can never be whole."""
        self._highest: dict[tuple[int, Lane], int] = {}
        self._ends: dict[int, str] = {}
        self._told: set[tuple[int, int]] = set()
        self._ordered = schedule.fence_rows >= schedule.rows * schedule.lanes

    def effective(self, incarnation: int, lane: Lane, tag: int) -> None:
        """A hop took effect at an instance: its tag must be above all that did so before."""
        self.hops += 1
        key = (incarnation, lane)
        before = self._highest.get(key, -1)
        if tag <= before and self._ordered:
            raise Broken(
                f"order: row {lane} took effect at {incarnation} with {tag} after {before}"
            )
        self._highest[key] = max(tag, before)

    def committed(self, partition: int, rows: Sequence[Finished]) -> None:
        for finished in rows:
            if finished.row % self.schedule.partitions != partition:
                raise Broken(f"row {finished.row} is in a commit of partition {partition}")
            if finished.row not in self._ends:
                self._ends[finished.row] = finished.status

    def told(self, source: int, done: Done) -> None:
        """A source learnt that a row has ended."""
        if (source, done.row) in self._told:
            raise Broken(f"done: row {done.row} ended twice at source {source}")
        self._told.add((source, done.row))
        if self._ends.get(done.row) != done.status:
            raise Broken(
                f"done: row {done.row} is told as {done.status!r}, the table has "
                f"{self._ends.get(done.row)!r}"
            )

    def issued(self, node: SourceNode) -> None:
        """A source has issued a row anew."""
        on_the_way = len(node.outstanding) - len(node.arrived)
        if on_the_way > self.schedule.max_rows:
            raise Broken(f"bound: {on_the_way} rows are on their way")

    def dies(self, world: World, process: Process) -> None:
        """A process is about to be killed."""
        node = process.node
        if node is None:
            return
        there = {
            (row, key)
            for other in world.processes.values()
            if isinstance(other.node, WriterNode)
            for row, segments in other.node._segments.items()
            for key in segments
        }
        sent_back = {
            kept.message.row
            for other in world.processes.values()
            if isinstance(other.node, AgentNode)
            for kept in other.node.outbox.messages.values()
            if kept.target == node.incarnation
        }
        for ref, kept in node.outbox.segments.items():
            if kept.item.row in sent_back and (kept.item.row, (node.incarnation, ref)) not in there:
                self.excused.add(kept.item.row)

    def watch(self, node: Node) -> None:
        """Now and then: what must hold at any moment."""
        if node.load() < 0 or any(link.load < 0 for link in node.links.values()):
            raise Broken(f"load: below zero at {node.incarnation}")
        if isinstance(node, SourceNode) and node.bytes != sum(
            len(outstanding.body or b"") for outstanding in node.outstanding.values()
        ):
            raise Broken("bound: the source has lost count of its bytes")
        if isinstance(node, SourceNode) and not node.arrived <= node.outstanding.keys():
            raise Broken("bound: rows are counted as arrived that are not outstanding")
        if isinstance(node, AgentNode) and len(node.fence) > self.schedule.fence_rows:
            raise Broken(f"bound: the fence of {node.incarnation} has {len(node.fence)} rows")

    # the end

    def at_the_end(self, world: World) -> None:
        """After the calm: every row exactly once, its story whole, nothing kept for ever."""
        counts = Counter(finished.row for finished in world.table.rows)
        twice = [row for row, count in counts.items() if count > 1]
        if twice:
            raise Broken(f"twice: rows {twice} are committed more than once")
        target = self.schedule.target
        accepted = sum(finished.status == "accepted" for finished in world.table.rows)
        if target is not None and accepted > target:
            raise Broken(f"target: {accepted} rows are accepted where {target} were wanted")
        if target is not None and set(counts) != set(world.rows[: len(counts)]):
            raise Broken("target: a row was begun before all that come before it")
        if (lost := set(world.rows) - set(counts)) and accepted != target:
            raise Broken(f"lost: rows {sorted(lost)} have not ended{where(world, min(lost))}")
        if strange := set(counts) - set(world.rows):
            raise Broken(f"rows {sorted(strange)} are in the table and not in the source")
        for finished in world.table.rows:
            self._check_story(world, finished)
        if left := leftovers(world):
            raise Broken(f"kept: {left[0]}")
        if self.schedule.mix in ("calm", "one death") and self.reissued > len(self.excused):
            raise Broken(f"work: {self.reissued} rows had to start again")
        if self.schedule.mix == "calm":
            needed = sum(
                bool(hop.mark)
                for finished in world.table.rows
                for hop in decode_body(finished.body).hops
            )
            if self.hops != needed:
                raise Broken(f"work: {self.hops} hops were made where {needed} were needed")

    def _check_story(self, world: World, finished: Finished) -> None:
        """The row's own history is a chain of the flow's, 1 to n, and its segments are all there in
        order."""
        row = finished.row
        body = decode_body(finished.body)
        steps = self.schedule.steps
        if body.row != row:
            raise Broken(f"story: row {row} carries the body of {body.row}")
        if row in world.buried:
            if finished.status != "dead" or body.hops:
                raise Broken(f"story: row {row} could not start, yet it is {finished.status}")
            return
        at = self._check_chain(row, body.hops)
        if finished.status != "dead" and _WAY_TO[finished.status] not in steps[at]:
            raise Broken(f"story: row {row} is {finished.status} after {at}")
        recorded = [hop.mark for hop in body.hops if hop.recorded]
        joined = [decode_hop(segment).mark for segment in finished.segments]
        if "died with this row" in finished.reason:
            # Where branches come together it dies as it was when it was divided.
            joined = joined[: len(recorded)]
        if recorded != joined:
            raise Broken(f"segments: row {row} has {joined}, its hops left {recorded}")
        if self.schedule.mix == "poison" and "died with this row" in finished.reason:
            if row not in world.poisonous:
                raise Broken(f"innocent: row {row} is dead: {finished.reason}")
        elif (
            self.schedule.mix == "poison"
            and row in world.poisonous
            and self._past_poison(body.hops)
        ):
            raise Broken(f"innocent: row {row} kills whoever handles it, and has gone on")
        if finished.status == "dead" and not finished.reason:
            raise Broken(f"story: row {row} is dead without a reason")

    def _past_poison(self, hops: list[Hop]) -> bool:
        where = self.schedule.poison_step or self.schedule.entry
        return any(hop.step == where and not hop.branch for hop in hops)

    def _check_chain(self, row: int, hops: list[Hop]) -> str:
        """Gives the last step."""
        at, number, rest = "", 0, list(hops)
        while rest:
            if rest[0].branch:
                fan = self.schedule.fans.get(at)
                if fan is None:
                    raise Broken(f"story: row {row} was divided after {at}")
                last = number
                for index, first in enumerate(fan.branches, 1):
                    own = list(takewhile(partial(_is_of, index), rest))
                    del rest[: len(own)]
                    last = max(last, self._check_branch(row, own, number, first, fan.join))
                at, number = fan.join, last + 1
                if not rest:
                    # It died where it was joined, and that hop has left nothing.
                    return at
                if (rest[0].step, rest[0].number, rest[0].branch) != (at, number, 0):
                    raise Broken(f"story: row {row} came from its branches to {rest[0]}")
            else:
                ways = self.schedule.steps[at] if at else (self.schedule.entry,)
                number += 1
                if rest[0].number != number:
                    raise Broken(
                        f"story: hop {rest[0].number} of row {row} stands in place {number}"
                    )
                if rest[0].step not in ways:
                    raise Broken(f"story: {rest[0].step} does not follow {at} in row {row}")
                at = rest[0].step
            del rest[0]
        return at

    def _check_branch(self, row: int, hops: list[Hop], number: int, first: str, join: str) -> int:
        """Gives the number of its last hop."""
        steps = self.schedule.steps
        ways: tuple[str, ...] = (first,)
        for hop in hops:
            number += 1
            if hop.number != number or not (hop.step in ways or hop.step == DEAD):
                raise Broken(f"story: {hop} is no hop {number} of a branch of row {row}")
            ways = (REJECT,) if hop.step == DEAD else steps[hop.step]
        if not hops or not {join, REJECT} & set(ways):
            raise Broken(f"story: a branch of row {row} has not come to its end")
        return number


def leftovers(world: World) -> list[str]:
    """What processes still hold though all has ended; empty when all are at rest."""
    left: list[str] = []
    for process in world.processes.values():
        node = process.node
        if node is None:
            continue
        name = f"{process.name} ({node.incarnation})"
        if node.outbox.messages:
            kept = next(iter(node.outbox.messages.values()))
            left.append(f"{name} retains a message of row {kept.message.row} for {kept.target}")
        if node.outbox.segments:
            segment = next(iter(node.outbox.segments.values()))
            left.append(f"{name} retains a segment of row {segment.item.row} for {segment.target}")
        for peer, link in node.links.items():
            if link.queued() or link.unacknowledged():
                left.append(
                    f"{name} has {link.queued()} items and {link.unacknowledged()} frames "
                    f"for {peer}"
                )
        if isinstance(node, AgentNode) and (
            len(node.inbox) or node.in_work or node.quarantine or node.joins
        ):
            left.append(
                f"{name} has {len(node.inbox)} messages, {len(node.in_work)} in work and "
                f"{len(node.joins)} that wait for other branches"
            )
        if isinstance(node, SourceNode) and node.outstanding:
            left.append(f"{name} waits for row {next(iter(node.outstanding))}")
        if isinstance(node, WriterNode):
            if not node.idle():
                left.append(f"{name} has rows to commit")
            if node.segments_held():
                left.append(f"{name} holds {node.segments_held()} segments")
    return left


def where(world: World, row: int) -> str:
    """Who holds the row, for the person who looks for it."""
    holders = []
    for process in world.processes.values():
        node = process.node
        if node is None:
            continue
        holders += [
            f"{process.name} retains it for {kept.target}"
            for kept in node.outbox.messages.values()
            if kept.message.row == row
        ]
        if isinstance(node, AgentNode):
            held = [message for message in node.messages_held() if message.row == row]
            holders += [f"{process.name} holds {message.branch or 'it'}" for message in held]
        if isinstance(node, WriterNode) and row in node.waiting:
            holders.append(f"{process.name} waits for {node.waiting[row].missing}")
        if isinstance(node, SourceNode) and row in node.outstanding:
            holders.append(f"{process.name} waits for its end")
    return "; row " + str(row) + ": " + ("; ".join(holders) or "nobody has it")
