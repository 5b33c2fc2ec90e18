"""Rows that processes have died with: whoever is innocent must not die with the one that kills.

A death counts against every row that the process had, since nobody can tell which one it was. From
`SUSPECT` deaths on, a row is handled apart: with a few like it, after one more death alone, with
nothing else in the process's hands. Those who keep the copies are told before it is begun and after
it is done, and the next is not begun before they know. So from then on a death counts only against
the rows that were in hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from weft.protocol.inbox import Work

SUSPECT = 2
"""Deaths in a hop from which a row is handled apart."""
TOGETHER = 8
"""Suspects handled at once the first time: most are innocent, and a hop may take minutes."""


_TELLING, _BEGUN, _OVER = range(3)

_Holder = tuple[int, int]
"""Who keeps a copy: an incarnation, and its number for the message."""


class Quarantine:
    """True while there are suspects: then nothing else is handed out."""

    __slots__ = ("_round", "_untold", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Work] = []
        self._round: dict[Work, int] = {}
        """Those whose turn it is, until their holders know that it is over."""
        self._untold: dict[Work, set[_Holder]] = {}
        """Of those: who has been told something and may not know it yet."""

    def __bool__(self) -> bool:
        return bool(self._waiting or self._round)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._round)

    def add(self, work: Work) -> None:
        self._waiting.append(work)

    def works(self) -> Iterator[Work]:
        yield from self._waiting
        yield from self._round

    def waiting(self) -> list[Work]:
        """Takes out all whose turn has not come."""
        works, self._waiting = self._waiting, []
        return works

    def begin(self) -> list[Work]:
        """The next round, if none is under way: their holders have to be told."""
        if self._round or not self._waiting:
            return []
        fresh = [work for work in self._waiting if work.message.crashes <= SUSPECT]
        chosen = fresh[:TOGETHER] or self._waiting[:1]
        self._waiting = [work for work in self._waiting if work not in chosen]
        self._round = dict.fromkeys(chosen, _TELLING)
        return chosen

    def telling(self, work: Work, holders: set[_Holder]) -> None:
        """These have been told of the work in the round; the others are dead, or never were."""
        if work in self._round:
            self._untold[work] = holders
            self._known(work)

    def heard(self, which: Callable[[int, int], bool]) -> None:
        """These holders know what they were told last (or are dead)."""
        for work, holders in list(self._untold.items()):
            self._untold[work] = {holder for holder in holders if not which(*holder)}
            self._known(work)

    def _known(self, work: Work) -> None:
        if self._untold[work]:
            return
        del self._untold[work]
        if self._round[work] == _TELLING:
            self._round[work] = _BEGUN
        else:
            del self._round[work]

    def take(self, in_work: dict[Work, None]) -> Work | None:
        """One of the round that may begin and has not."""
        for work, state in self._round.items():
            if state == _BEGUN and work not in in_work:
                return work
        return None

    def done(self, work: Work) -> bool:
        """It is over for this time, whatever came of it; true for one of the round: its holder has
        to be told."""
        if work not in self._round:
            return False
        self._round[work] = _OVER
        return True
