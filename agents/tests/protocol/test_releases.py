"""Frames between processes of two releases, as they meet while an image goes out."""

from __future__ import annotations

import msgspec
import pytest

from weft.protocol.message import CensusAsk, Frame, InHand, Message, decode_frame, encode_frame

NEWER = ["from-a-newer-release", 7, {"who": "knows"}]


def frame(*control: object) -> bytes:
    """Of a release whose control messages these are, and whose frames have a field more."""
    row = Message(1, 0, 0, 0, "a", 5, b"body")
    plain = msgspec.to_builtins(Frame(3, 2, 1, [row], [8]), builtin_types=(bytes,))
    return msgspec.msgpack.encode([*plain[:-1], list(control), "a newer field"])


def test_control_messages_of_an_unknown_kind_are_left_out_and_the_rest_arrives() -> None:
    arrived = decode_frame(memoryview(frame(InHand(4, True), NEWER, CensusAsk(1, [2]))))
    assert arrived.control == [InHand(4, True), CensusAsk(1, [2])]
    assert (arrived.seq, arrived.ack, arrived.load, arrived.settled) == (3, 2, 1, [8])
    assert [message.body for message in arrived.messages] == [b"body"]
    assert decode_frame(frame(NEWER)).control == []


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xc1",
        encode_frame(Frame(1))[:-1],
        msgspec.msgpack.encode("no frame"),
        msgspec.msgpack.encode([1, 2, 3, "no messages"]),
        frame(["hand", "no number", True]),
        frame(7),
        frame(NEWER, []),
    ],
)
def test_damage_is_not_taken_for_another_release(damaged: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_frame(damaged)
