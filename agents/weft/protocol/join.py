"""Branches of divided rows that wait, at the step where they come together, for the others.

A set is what one division of a row made: the row itself (index 0) and its branches. Only branches
of one division are ever joined: another one may stand on another text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from msgspec.structs import replace

from weft.protocol.inbox import Work
from weft.protocol.message import Branch, Message
from weft.protocol.outbox import Parent

ASK_AFTER = 5.0
"""Seconds that a set waits until the source is asked whether its row is still on its way, and
between two such questions."""

_V = TypeVar("_V")
_Division = tuple[int, int, int]
"""Epoch, fork and hop of the message that was divided: of two, the higher one is the newer."""


class _Set:
    __slots__ = ("asked", "works")

    def __init__(self, now: float) -> None:
        self.works: dict[int, Work] = {}
        self.asked = now


class Joins:
    """Row -> the set of its newest division that has come by."""

    __slots__ = ("_sets",)

    def __init__(self) -> None:
        self._sets: dict[int, tuple[_Division, _Set]] = {}

    def __len__(self) -> int:
        """Messages that wait."""
        return sum(len(waiting.works) for _, waiting in self._sets.values())

    def __bool__(self) -> bool:
        return bool(self._sets)

    def works(self) -> Iterator[Work]:
        for _, waiting in self._sets.values():
            yield from waiting.works.values()

    def add(self, work: Work, now: float) -> tuple[list[Work], Work | None]:
        """Take a branch in. Gives what it makes void, and the joined row where it was the last."""
        row, branch = work.message.row, branch_of(work.message)
        division = (work.message.epoch, branch.fork, branch.hop)
        known = self._sets.get(row)
        void: list[Work] = []
        if known is not None and known[0] > division:
            return [work], None
        if known is None or known[0] < division:
            if known is not None:
                void += known[1].works.values()
            known = self._sets[row] = (division, _Set(now))
        works = known[1].works
        if (other := works.get(branch.index)) is not None:
            # The fence lets nothing by that is not higher: this copy is the one that counts.
            void.append(other)
        works[branch.index] = work
        if len(works) <= branch.count:
            return void, None
        del self._sets[row]
        return void, joined([works[index] for index in range(branch.count + 1)])

    def withdraw(self) -> list[Work]:
        """Takes out all that waits: it goes to another instance."""
        works = list(self.works())
        self._sets.clear()
        return works

    def drop(self, row: int, epoch: int) -> list[Work]:
        """Takes out what waits of a row that is over, where its epoch is not higher than this."""
        known = self._sets.get(row)
        if known is None or known[0][0] > epoch:
            return []
        del self._sets[row]
        return list(known[1].works.values())

    def to_ask(self, now: float) -> list[tuple[int, int]]:
        """Rows, each with its epoch, whose sets have waited for long; asked for once in a while."""
        asked = []
        for row, (division, waiting) in self._sets.items():
            if now - waiting.asked >= ASK_AFTER:
                waiting.asked = now
                asked.append((row, division[0]))
        return asked


def branch_of(message: Message) -> Branch:
    assert message.branch is not None
    return message.branch


def joined(works: list[Work]) -> Work:
    """The row whose branches are all here, in order, the row itself first. Its tag is above all
    of theirs once it is passed on: tags rise along every lineage, whichever branch one follows."""
    messages = [work.message for work in works]
    row = messages[0]
    message = replace(
        row,
        fork=max(message.fork for message in messages),
        hop=max(message.hop for message in messages),
        segments=[part for message in messages for part in message.segments],
        plan=max(message.plan for message in messages),
        crashes=max(message.crashes for message in messages),
        attempts=0,
        homes=_united(message.homes for message in messages),
        pins=_united(message.pins for message in messages),
        branch=None,
    )
    parents = tuple(work.parent for work in works if work.parent is not None)
    parent = Parent(0, 0, joined=parents) if parents else None
    return Work(message, parent, message.lane, message.tag, tuple(works))


def divided(
    message: Message, body: bytes, ways: Iterable[tuple[str, bytes]], join: str
) -> list[Message]:
    """The messages that a row is divided into: itself with `body`, on its way to the join, and a
    branch for each of `ways` (step, body). The row keeps the segments: the join puts those of the
    branches behind them."""
    ways = list(ways)

    def part(index: int, to: str, content: bytes) -> Message:
        return replace(
            message,
            hop=message.hop + 1,
            to=to,
            body=content,
            segments=[] if index else message.segments,
            attempts=0,
            crashes=0,
            part=None,
            branch=Branch(message.fork, message.hop, index, len(ways), join),
        )

    return [part(0, join, body), *(part(at, to, own) for at, (to, own) in enumerate(ways, 1))]


def _united(maps: Iterable[dict[str, _V]]) -> dict[str, _V]:
    return {name: value for one in maps for name, value in one.items()}
