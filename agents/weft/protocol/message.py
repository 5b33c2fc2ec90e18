"""What travels between processes: messages with their control header, in frames."""

from __future__ import annotations

import msgspec

ACCEPT = "$accept"
REJECT = "$reject"
DEAD = "$dead"
ENDS = frozenset({ACCEPT, REJECT, DEAD})
"""Destinations that are a row's end: such a message goes to the writer of its row."""

HOP_BITS = 20
FORK_BITS = 40
FORK_STEP = 1 << 16
"""More than any flow has hops."""


class Part(msgspec.Struct, array_like=True, frozen=True):
    """A large body that stays with its holder until it is asked for (`runtime.parts`)."""

    holder: str
    """Name of the holder's actor."""
    key: int
    bytes: int


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

    @property
    def tag(self) -> int:
        """(epoch, fork, hop) as one number that compares in that order."""
        return (self.epoch << (FORK_BITS + HOP_BITS)) | (self.fork << HOP_BITS) | self.hop


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


class CensusAnswer(msgspec.Struct, array_like=True, tag="answer"):
    """Rows held here (epoch beside each), and rows known to be committed (end beside each)."""

    number: int
    held: list[tuple[int, int]]
    done: list[Done]


class InHand(msgspec.Struct, array_like=True, tag="hand"):
    """To the sender of a message that processes have died with, or whose receiver leaves: whether
    it is being handled."""

    ref: int
    now: bool


Control = CensusAsk | CensusAnswer | InHand


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


encode_frame = msgspec.msgpack.Encoder().encode
decode_frame = msgspec.msgpack.Decoder(Frame).decode
