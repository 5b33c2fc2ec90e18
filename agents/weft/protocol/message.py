"""What travels between processes: messages with their control header, in frames."""

from __future__ import annotations

import msgspec

from weft.protocol.releases import decode_known

ACCEPT = "$accept"
REJECT = "$reject"
DEAD = "$dead"
ENDS = frozenset({ACCEPT, REJECT, DEAD})
"""Destinations that are a row's end: such a message goes to the writer of its row."""

HOP_BITS = 20
FORK_BITS = 40
_OWN_BITS = FORK_BITS + HOP_BITS
FORK_STEP = 1 << 16
"""More than any flow has hops."""


Lane = int | tuple[int, int]
"""A row, or (row, index of its branch): within it, tags only rise."""


class Part(msgspec.Struct, array_like=True, frozen=True):
    """A large body that stays with its holder until it is asked for (`runtime.parts`)."""

    holder: str
    """Name of the holder's actor."""
    key: int
    bytes: int


class Branch(msgspec.Struct, array_like=True, omit_defaults=True, frozen=True, gc=False):
    """Which part of a divided row a message is. (The epoch, which never changes on a row's way, is
    the message's own.)"""

    fork: int
    """Of the message that was divided; with `hop` it tells one division from every other."""
    hop: int
    index: int
    """From 1, in the order of the manifest; 0 is the row itself, which waits at the join."""
    count: int
    """Branches besides the row itself."""
    join: str
    """The step where they come together."""
    end: str = ""
    """One of `ENDS` for a branch that has come to it: it goes to the join all the same."""


class Message(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """A row on its way, and where it goes next.

    The header is everything but `body`; only the agent that handles the message decodes the body.
    """

    row: int
    """Key of the row: source partition << 48 | ordinal in that partition."""
    epoch: int
    """Rises when the source issues the row again."""
    fork: int
    """Rises when a holder sends the row again because its receiver died: by more, the earlier in
    the row's way its copy is. Of two copies that are sent again the earlier one wins: that it was
    still kept says that not all that came of it was safe."""
    hop: int
    """Rises with each hop."""
    to: str
    """The step that shall handle it, or one of `ENDS`."""
    ref: int
    """The sender's number for this message; the receiver settles it by that number."""
    body: bytes
    segments: list[int] = []
    """The trace segments made so far: of each, its maker's incarnation and its maker's number for
    it, one after the other. (Flat, and not one number: neither half has a bound that way.)"""
    plan: int = 0
    """Generation of the plan that the row runs by: the newest when it was issued, or one that an
    agent has taken up since (`spec.rollout`). It never goes down along a row's way."""
    priority: int = 0
    """Higher is more urgent."""
    deadline: float = 0.0
    """Unix time in seconds after which the row is late; 0 for none. Orders rows of one priority."""
    attempts: int = 0
    """Failed tries of this hop."""
    crashes: int = 0
    """How often a process died with this row in its hands since its last hop was completed."""
    homes: dict[str, int] = {}
    """Step -> incarnation that handled the row there: the engine's cache may still know it."""
    pins: dict[str, str] = {}
    """Pool -> revision of it that the row has met, and stays with while that one serves."""
    reason: str = ""
    """For rejected and dead rows: why."""
    part: Part | None = None
    """Where the body is, when it is too large to travel with each hop; `body` is empty then."""
    branch: Branch | None = None
    """For a part of a divided row: which one."""

    @property
    def lane(self) -> Lane:
        """What tags are compared within: the row, or one branch of it."""
        branch = self.branch
        return self.row if branch is None else (self.row, branch.index)

    @property
    def at_join(self) -> bool:
        """Whether it is a branch that waits for the others where it comes to."""
        return self.branch is not None and self.to == self.branch.join

    @property
    def tag(self) -> int:
        """(epoch, fork, hop) as one number that compares in that order; of a branch (epoch, fork
        and hop of its division, fork, hop), so that of two divisions the newer one goes before,
        however often branches of the older one were sent again."""
        own = (self.fork << HOP_BITS) | self.hop
        branch = self.branch
        if branch is None:
            return (self.epoch << _OWN_BITS) | own
        division = (self.epoch << _OWN_BITS) | (branch.fork << HOP_BITS) | branch.hop
        return (division << _OWN_BITS) | own


class SegmentItem(msgspec.Struct, array_like=True, gc=False):
    """A trace segment for the writer of `row`; settled by `ref` when the row is committed."""

    ref: int
    row: int
    body: bytes


class Done(msgspec.Struct, array_like=True, gc=False):
    """The writer's word to the source: this row is committed with this end."""

    row: int
    status: str
    """`accepted`, `rejected`, `dead`; or "": it has arrived whole and waits to be committed."""


class CensusAsk(msgspec.Struct, array_like=True, tag="ask"):
    """Which of these rows do you hold? `rows` None asks for all."""

    number: int
    rows: list[int] | None


class HeldBranch(msgspec.Struct, array_like=True, gc=False):
    """One branch of a row; the fields are those of the message and its `Branch`."""

    row: int
    epoch: int
    fork: int
    hop: int
    index: int
    count: int


class CensusAnswer(msgspec.Struct, array_like=True, tag="answer"):
    """Rows held here (epoch beside each), and rows known to be committed (end beside each)."""

    number: int
    held: list[tuple[int, int]]
    done: list[Done]
    branches: list[HeldBranch] = []
    """A row of which nothing but branches is held is alive only if they are all there."""


class InHand(msgspec.Struct, array_like=True, tag="hand"):
    """To the sender of a message that processes have died with, or whose receiver leaves: whether
    it is being handled."""

    ref: int
    now: bool


class StillAsk(msgspec.Struct, array_like=True, tag="still"):
    """From a join to the source: are these rows (epoch beside each) still on their way? Branches
    of a lineage that has lost would wait for ever for the others."""

    rows: list[tuple[int, int]]


class Over(msgspec.Struct, array_like=True, tag="over"):
    """The source's answer: what is kept of these rows with this epoch, or a lower one, is void."""

    rows: list[tuple[int, int]]


Control = CensusAsk | CensusAnswer | InHand | StillAsk | Over


class Frame(msgspec.Struct, array_like=True, omit_defaults=True):
    """One unit on a link. `seq` 0 carries nothing but the acknowledgement."""

    seq: int = 0
    ack: int = 0
    """All frames of the peer up to this number have arrived."""
    load: int = 0
    """Messages waiting and in work at the sender of this frame."""
    messages: list[Message] = []
    settled: list[int] = []
    """The peer's messages and segments that it need not keep any longer, by `ref`."""
    segments: list[SegmentItem] = []
    done: list[Done] = []
    control: list[Control] = []


_CONTROL = Frame.__struct_fields__.index("control")

_frame = msgspec.msgpack.Decoder(Frame)
_control = msgspec.msgpack.Decoder(Control)
_array = msgspec.msgpack.Decoder(list[msgspec.Raw])

encode_frame = msgspec.msgpack.Encoder().encode


def decode_frame(payload: memoryview | bytes) -> Frame:
    """Control messages of a kind that only another release knows are left out. Raises msgspec's
    errors for damage."""
    try:
        return _frame.decode(payload)
    except msgspec.ValidationError:
        # A copy: parts of it must not keep the receive buffer, which could not grow then.
        fields = _array.decode(bytes(payload))
        control = _array.decode(fields[_CONTROL]) if len(fields) > _CONTROL else []
        known = [each for each in control if decode_known(_control, each) is not None]
        if len(known) == len(control):
            raise
        fields[_CONTROL] = msgspec.Raw(encode_frame(known))
        return _frame.decode(encode_frame(fields))
