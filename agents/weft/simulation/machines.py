"""The machines that a world is built of. A planted bug puts its own in the place of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weft.protocol.agent import AgentNode
from weft.protocol.directory import Directory
from weft.protocol.source import SourceNode
from weft.protocol.writer import Finished, WriterNode

if TYPE_CHECKING:
    from weft.simulation.table import Table, Ticket


@dataclass(frozen=True)
class Machines:
    """The real ones."""

    agent: type[AgentNode] = AgentNode
    source: type[SourceNode] = SourceNode
    writer: type[WriterNode] = WriterNode
    directory: type[Directory] = Directory

    def advance(
        self, table: Table, partition: int, old: Ticket, new: Ticket, rows: Sequence[Finished]
    ) -> Ticket:
        """Commit, if no other commit has come between."""
        return table.advance(partition, old, new, rows)


REAL = Machines()
