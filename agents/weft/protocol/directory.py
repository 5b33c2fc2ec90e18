"""Who is alive: gives every process an incarnation and a lease, and publishes numbered views."""

from __future__ import annotations

import msgspec

from weft.protocol.view import EMPTY_VIEW, Member, Role, View

COUNTER_BITS = 24
"""Incarnation = directory generation << these bits + counter, so that they rise over restarts."""


class Joining(msgspec.Struct, array_like=True):
    """What a process says of itself. `incarnation` 0 asks for a new one; another is kept, where a
    directory that is new itself still waits for the processes that its predecessor knew."""

    role: Role
    name: str
    address: str
    step: str = ""
    pool: str = ""
    revision: str = ""
    partitions: tuple[int, ...] = ()
    """For a writer that comes back: those it has. A new one is given a free seat."""
    incarnation: int = 0
    draining: bool = False
    weight: int = 1
    view: View | None = None
    """Of a process that comes back: the newest it has. Whoever is dead by it must stay so."""


class Directory:
    """Membership with leases. Times in seconds."""

    def __init__(
        self,
        *,
        generation: int,
        lease: float,
        now: float,
        writers: int = 1,
        writer_partitions: int = 1,
        grace: float = 0.0,
    ) -> None:
        """`writers`: how many share the `writer_partitions`: each takes a seat, and partition p
        belongs to seat p modulo `writers`. `grace`: how long to wait, before the first view, for
        processes that a predecessor knew: whoever is not in the first view is dead."""
        self.generation = generation
        self.lease = lease
        self.writers = writers
        self.writer_partitions = writer_partitions
        self._opens = now + grace
        self._ticked = now
        self._before = EMPTY_VIEW
        """The newest view of a predecessor that somebody alive has acted on."""
        self._number = 0
        self._counter = 0
        self._members: dict[int, Member] = {}
        self._alive_until: dict[int, float] = {}
        self._changed = True
        self._view: View | None = None

    @property
    def members(self) -> dict[int, Member]:
        """By incarnation."""
        return self._members

    def join(self, joining: Joining, now: float) -> Member | None:
        """The process as the directory knows it from now on. None refuses an old incarnation that
        is dead by now (it must drop all it holds and ask for a new one), and a writer for whom no
        seat is free (now: a predecessor's writers may still come back for theirs)."""
        incarnation = joining.incarnation
        partitions = joining.partitions
        known = self._members.get(incarnation)
        if incarnation and known is None:
            of_predecessor = incarnation < self.generation << COUNTER_BITS
            if not of_predecessor or now >= self._opens:
                return None
            self._heed(joining.view)
            if self._before.is_dead(incarnation) or self._taken() & set(partitions):
                return None
        elif not incarnation and joining.role == "writer":
            partitions = self._free_seat() if now >= self._opens else ()
            if not partitions:
                return None
        if not incarnation:
            self._counter += 1
            incarnation = (self.generation << COUNTER_BITS) + self._counter
        member = Member(
            incarnation,
            joining.role,
            joining.name,
            joining.address,
            joining.step,
            joining.pool,
            joining.revision,
            draining=known.draining if known else joining.draining,
            partitions=known.partitions if known else partitions,
            weight=known.weight if known else joining.weight,
        )
        if self._members.get(incarnation) != member:
            self._members[incarnation] = member
            self._changed = True
        self._alive_until[incarnation] = now + self.lease
        return member

    def _heed(self, view: View | None) -> None:
        """A predecessor has declared processes dead, and some have acted on it: the sessions with
        the dead are gone, so none of them may come back to life."""
        if view is not None and view.version > self._before.version:
            self._before = view
            for incarnation in [i for i in self._members if view.is_dead(i)]:
                self.leave(incarnation)

    def _taken(self) -> set[int]:
        return {p for member in self._members.values() for p in member.partitions}

    def _free_seat(self) -> tuple[int, ...]:
        taken = self._taken()
        for seat in range(self.writers):
            partitions = tuple(range(seat, self.writer_partitions, self.writers))
            if partitions and not taken.intersection(partitions):
                return partitions
        return ()

    def heartbeat(self, incarnation: int, now: float) -> bool:
        """Renew the lease; False when it has run out before."""
        if incarnation not in self._members:
            return False
        self._alive_until[incarnation] = now + self.lease
        return True

    def leave(self, incarnation: int) -> None:
        """A process has left in order, or is known to be dead."""
        if self._members.pop(incarnation, None):
            del self._alive_until[incarnation]
            self._changed = True

    def change(
        self, incarnation: int, *, draining: bool | None = None, weight: int | None = None
    ) -> None:
        """Tell all that a member drains, or gets another share of the new rows."""
        member = self._members.get(incarnation)
        if member is None:
            return
        changed = msgspec.structs.replace(
            member,
            draining=member.draining if draining is None else draining,
            weight=member.weight if weight is None else weight,
        )
        if changed != member:
            self._members[incarnation] = changed
            self._changed = True

    def tick(self, now: float) -> list[Member]:
        """Let leases run out; returns those that did. Call at least four times a lease: where
        more time than half a lease has passed, this process itself was asleep, and the members
        could not be heard."""
        slept = now - self._ticked
        self._ticked = now
        if slept > self.lease / 2:
            self._alive_until = {i: until + slept for i, until in self._alive_until.items()}
        late = [self._members[i] for i, until in self._alive_until.items() if until < now]
        for member in late:
            self.leave(member.incarnation)
        return late

    def view(self, now: float) -> View | None:
        """The view to publish; None while the directory still waits for old members."""
        if now < self._opens:
            return None
        if self._changed or self._view is None:
            self._number += 1
            self._changed = False
            self._view = View(
                self.generation,
                self._number,
                max([(self.generation << COUNTER_BITS) + self._counter, *self._members]),
                tuple(self._members.values()),
                self.writer_partitions,
            )
        return self._view
