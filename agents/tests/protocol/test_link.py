"""One session between two processes, over a wire that loses, doubles and reorders."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.protocol.link import RESEND_AFTER, Link
from weft.protocol.message import ACCEPT, Frame, Message, SegmentItem, decode_frame, encode_frame


def message(ref: int, size: int = 1) -> Message:
    return Message(ref, 1, 0, 0, "a", ref, b"x" * size)


def frames(link: Link, now: float = 0.0) -> list[Frame]:
    """All that goes on the wire now, as the peer will read it."""
    out = []
    while (frame := link.next_frame(0, now)) is not None:
        out.append(decode_frame(encode_frame(frame)))
    return out


def pair() -> tuple[Link, Link]:
    a, b = Link(2, 0.0), Link(1, 0.0)
    a.connect(0.0)
    b.connect(0.0)
    frames(a)
    frames(b)
    return a, b


def test_nothing_goes_out_before_there_is_a_connection() -> None:
    link = Link(2, 0.0)
    link.send(message(1))
    assert frames(link) == []
    link.connect(1.0)
    assert [m.ref for frame in frames(link) for m in frame.messages] == [1]


def test_a_frame_is_kept_until_it_is_acknowledged() -> None:
    a, b = pair()
    a.send(message(1))
    (frame,) = frames(a)
    assert b.receive(frame) == ([], True)
    assert a.unacknowledged() == 1
    a.receive(Frame(ack=frame.seq))
    assert a.unacknowledged() == 0


def test_what_nobody_waits_for_waits_while_company_may_come() -> None:
    a, _ = pair()
    a.send(Message(1, 1, 0, 0, ACCEPT, 1, b""))
    a.send_segment(SegmentItem(1, 1, b""))
    a.settle(7)
    assert a.next_frame(3, 0.0) is None
    assert not a.tick(Link.PATIENCE / 2)
    assert a.tick(Link.PATIENCE)
    frame = a.next_frame(3, Link.PATIENCE)
    assert frame is not None
    assert (len(frame.messages), len(frame.segments), frame.settled) == (1, 1, [7])


def test_enough_company_is_waited_for_no_longer() -> None:
    a, _ = pair()
    for ref in range(Link.COMPANY):
        assert a.next_frame(3, 0.0) is None
        a.send_segment(SegmentItem(ref, ref, b""))
    frame = a.next_frame(3, 0.0)
    assert frame is not None
    assert len(frame.segments) == Link.COMPANY


def test_where_no_company_can_come_the_end_of_a_row_goes_at_once() -> None:
    a, _ = pair()
    a.send(Message(1, 1, 0, 0, ACCEPT, 1, b""))
    assert a.next_frame(0, 0.0) is not None


def test_a_row_goes_to_the_next_agent_at_once_and_takes_along_what_waits() -> None:
    a, _ = pair()
    a.settle(7)
    assert a.next_frame(3, 0.0) is None
    a.send(message(1))
    frame = a.next_frame(3, 0.0)
    assert frame is not None
    assert (len(frame.messages), frame.settled) == (1, [7])


def test_a_second_copy_brings_nothing_new_and_is_acknowledged_at_once() -> None:
    a, b = pair()
    a.send(message(1))
    (frame,) = frames(a)
    assert b.receive(frame)[1]
    assert not b.receive(frame)[1]
    (answer,) = frames(b)
    assert (answer.seq, answer.ack) == (0, 1)


def test_a_frame_that_comes_too_early_is_refused() -> None:
    a, b = pair()
    a.send(message(1))
    first = frames(a)
    a.send(message(2))
    second = frames(a)
    assert not b.receive(second[0])[1]
    assert b.receive(first[0])[1]
    assert b.receive(second[0])[1]


def test_a_silent_peer_gets_the_frames_again_after_a_while() -> None:
    a, _ = pair()
    a.send(message(1))
    (sent,) = frames(a, now=1.0)
    assert not a.tick(1.0 + RESEND_AFTER / 2)
    assert a.tick(1.0 + RESEND_AFTER)
    (again,) = frames(a, now=1.0 + RESEND_AFTER)
    assert (again.seq, again.messages) == (sent.seq, sent.messages)


def test_a_new_connection_brings_everything_unacknowledged_again_in_order() -> None:
    a, _ = pair()
    for ref in (1, 2, 3):
        a.send(message(ref))
        frames(a)
    a.disconnect(1.0)
    assert frames(a) == []
    a.connect(2.0)
    assert [m.ref for frame in frames(a, 2.0) for m in frame.messages] == [1, 2, 3]


def test_no_more_frames_are_on_their_way_than_the_window_allows() -> None:
    a, _ = pair()
    for ref in range(3 * Link.WINDOW):
        a.send(message(ref))
        frames(a)
    assert a.unacknowledged() == Link.WINDOW
    assert a.queued() == 2 * Link.WINDOW


@pytest.mark.parametrize("size", [1, Link.FRAME_BYTES // 4, Link.FRAME_BYTES * 2])
def test_a_frame_is_bounded_by_messages_and_bytes(size: int) -> None:
    a, _ = pair()
    for ref in range(300):
        a.send(message(ref, size))
    frame = a.next_frame(0, 0.0)
    assert frame is not None
    count = len(frame.messages)
    assert count == max(1, min(Link.FRAME_MESSAGES, Link.FRAME_BYTES // size))


def test_what_was_withdrawn_is_not_sent_and_what_was_sent_stays_in_the_session() -> None:
    a, _ = pair()
    a.send(message(1))
    frames(a)
    a.send(message(2))
    a.send(message(3))
    assert a.withdraw({1, 2}) == {2}
    assert [m.ref for frame in frames(a) for m in frame.messages] == [3]
    assert a.load == 2


def test_load_is_the_peers_word_and_what_is_on_its_way() -> None:
    a, _ = pair()
    for ref in range(3):
        a.send(message(ref))
    frames(a)
    a.send(message(9))
    a.receive(Frame(load=5))
    assert a.load == 5 + 3 + 1


@given(seed=st.integers(0, 10_000), loss=st.floats(0, 0.6), count=st.integers(1, 60))
def test_everything_arrives_once_and_in_order_over_a_bad_wire(
    seed: int, loss: float, count: int
) -> None:
    class Small(Link):
        FRAME_MESSAGES = 2
        WINDOW = 3
        COMPANY = 2

    rng = random.Random(seed)
    a, b = Small(2, 0.0), Small(1, 0.0)
    a.connect(0.0)
    b.connect(0.0)
    taken: list[int] = []
    segments: list[int] = []
    settled: list[int] = []
    acknowledged: list[int] = []
    wire: list[tuple[str, Frame]] = []
    to_send = list(range(1, count + 1))
    now = 0.0
    while len(settled) < count and now < 2000:
        now += 0.05
        if to_send and rng.random() < 0.5:
            ref = to_send.pop(0)
            a.send(message(ref))
            a.send_segment(SegmentItem(ref, ref, b""))
        if rng.random() < 0.02:
            for link in (a, b):
                link.disconnect(now)
                link.connect(now)
        wire += [("b", frame) for frame in frames(a, now)]
        wire += [("a", frame) for frame in frames(b, now)]
        rng.shuffle(wire) if rng.random() < 0.2 else None
        for to, frame in wire[: rng.randint(0, 3)]:
            wire.remove((to, frame))
            if rng.random() < loss:
                continue
            for _ in range(rng.choice((1, 1, 2))):
                done, fresh = (b if to == "b" else a).receive(frame)
                acknowledged += [m.ref for f in done for m in f.messages]
                if fresh:
                    taken += [m.ref for m in frame.messages]
                    segments += [s.ref for s in frame.segments]
                    settled += frame.settled
                    if to == "b":
                        for m in frame.messages:
                            b.settle(m.ref)
        a.tick(now)
        b.tick(now)
    expected = list(range(1, count + 1))
    assert taken == segments == settled == acknowledged == expected
