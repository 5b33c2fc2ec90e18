"""What a process and the directory say to each other over their connection.

While a new image goes out, the two may be of different releases: each passes over what only the
other knows. So a new message must never be one that has to be obeyed.
"""

from __future__ import annotations

import msgspec

from weft.protocol.directory import Joining
from weft.protocol.releases import decode_known
from weft.protocol.view import Member, View
from weft.runtime.status import Stats


class Join(msgspec.Struct, array_like=True, tag="join"):
    joining: Joining


class Heartbeat(msgspec.Struct, array_like=True, tag="beat"):
    stats: Stats
    report: int = 0
    """Number of the last `Report` that was heard before the stats were taken."""


class Leave(msgspec.Struct, array_like=True, tag="leave"):
    pass


class Draining(msgspec.Struct, array_like=True, tag="draining"):
    """Send me nothing new."""


class PlanUpdate(msgspec.Struct, array_like=True, tag="plan"):
    plan: str
    """`Plan.to_json`. Besides the newest, which comes first, those that rows still run by."""
    kept: list[int] = []
    """Generations that rows on their way may still run by; the others can be let go of."""


class PlanOffer(msgspec.Struct, array_like=True, tag="offer"):
    """Could you run by this plan? Answered by `PlanVerdict`; nothing changes yet."""

    plan: str


class PlanVerdict(msgspec.Struct, array_like=True, tag="verdict"):
    generation: int
    fault: str
    """Why not, in one line; "" where it could."""


class Joined(msgspec.Struct, array_like=True, tag="joined"):
    member: Member | None
    """None: refused; that incarnation is dead, or there is no seat for another writer."""
    writer_partitions: int


class ViewUpdate(msgspec.Struct, array_like=True, tag="view"):
    view: View


class Hurry(msgspec.Struct, array_like=True, tag="hurry"):
    """The source is exhausted: writers wait for less company before they commit."""

    now: bool = False
    """All rows under way have arrived at the writers: no company will come."""


class Report(msgspec.Struct, array_like=True, tag="report"):
    """Answer with a `Heartbeat` now, not only with the next beat."""

    number: int


class Stop(msgspec.Struct, array_like=True, tag="stop"):
    """The run is over."""


ToDirectory = Join | Heartbeat | Leave | Draining | PlanVerdict
FromDirectory = PlanUpdate | PlanOffer | Joined | ViewUpdate | Hurry | Report | Stop

encode = msgspec.msgpack.Encoder().encode
_to = msgspec.msgpack.Decoder(ToDirectory)
_from = msgspec.msgpack.Decoder(FromDirectory)


def decode_to(payload: memoryview | bytes) -> ToDirectory | None:
    """None for a kind that this release does not know. Raises msgspec's errors for damage."""
    return decode_known(_to, payload)


def decode_from(payload: memoryview | bytes) -> FromDirectory | None:
    """None for a kind that this release does not know. Raises msgspec's errors for damage."""
    return decode_known(_from, payload)
