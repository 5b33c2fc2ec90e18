"""The two ends of a row's way: the source that issues it, and the writer that commits it."""

from __future__ import annotations

import pytest
from cluster import SOURCE, WRITER, Cluster, make_writer

from weft.protocol.committed import CommittedRows
from weft.protocol.message import ACCEPT, CensusAnswer, CensusAsk, Done, Message, SegmentItem
from weft.protocol.source import SourceNode
from weft.protocol.view import Member, View

AGENT = 11


def source(*, max_rows: int = 2, max_bytes: int = 1000) -> SourceNode:
    node = SourceNode(SOURCE, entry="a", generation=2, max_rows=max_rows, max_bytes=max_bytes)
    members = (
        Member(SOURCE, "source", "", ""),
        Member(WRITER, "writer", "", "", partitions=(0,)),
        Member(AGENT, "agent", "", "", step="a"),
    )
    node.apply_view(View(1, 1, AGENT, members), 0.0)
    return node


def answer_all(node: SourceNode, now: float, held: list[tuple[int, int]]) -> None:
    """Every member answers the census at hand; the agent holds `held`."""
    number = node._numbers
    node._take_control(AGENT, CensusAnswer(number, held, []), now)
    node._take_control(WRITER, CensusAnswer(number, [], []), now)


# the source


@pytest.mark.parametrize(
    ("max_rows", "max_bytes", "sizes", "room"),
    [
        (2, 1000, [], True),
        (2, 1000, [1], True),
        (2, 1000, [1, 1], False),
        (9, 10, [5], True),
        (9, 10, [10], False),
        (9, 10, [99], False),
        (9, 0, [], True),
    ],
)
def test_rows_and_bytes_on_their_way_are_bounded(
    max_rows: int, max_bytes: int, sizes: list[int], room: bool
) -> None:
    node = source(max_rows=max_rows, max_bytes=max_bytes)
    for row, size in enumerate(sizes):
        node.issue(row, b"x" * size, 0.0)
    assert node.room() == room
    assert node.bytes == sum(sizes)
    for row in range(len(sizes)):
        node._take_done(Done(row, "accepted"), 0.0)
    assert node.room()
    assert node.bytes == 0


def test_a_row_ends_once_however_often_it_is_told() -> None:
    node = source()
    node.issue(1, b"x", 0.0)
    for _ in range(3):
        node._take_done(Done(1, "accepted"), 0.0)
    assert node.ended == [Done(1, "accepted")]


def test_a_row_that_has_ended_is_not_sent_again_when_its_holder_dies() -> None:
    node = source()
    node.issue(1, b"x", 0.0)
    node._take_done(Done(1, "accepted"), 0.0)
    assert len(node.outbox) == 0


def test_two_censuses_must_miss_a_row_before_it_is_issued_again() -> None:
    node = source()
    node.issue(1, b"x", 0.0)
    node.outbox.settle([node.outstanding[1].kept.message.ref])  # type: ignore[union-attr]
    node.tick(6.0)
    answer_all(node, 6.0, [])
    assert node.reissued == 0
    node.tick(7.0)
    answer_all(node, 7.0, [(1, node.outstanding[1].epoch)])
    node.tick(13.0)
    answer_all(node, 13.0, [])
    assert node.reissued == 0
    node.tick(14.0)
    answer_all(node, 14.0, [])
    assert node.reissued == 1
    assert node.outstanding[1].epoch == (2 << 16) + 1


def test_a_census_that_is_not_answered_is_held_again() -> None:
    node = source()
    node.issue(1, b"x", 0.0)
    node.tick(6.0)
    first = node._numbers
    node._take_control(AGENT, CensusAnswer(first, [], []), 6.0)
    node.tick(12.0)
    assert node._numbers == first + 1
    node._take_control(WRITER, CensusAnswer(first, [], []), 12.0)
    assert node._census is not None
    answer_all(node, 12.0, [])
    assert node._census is None


def test_a_late_answer_still_tells_of_rows_that_have_ended() -> None:
    node = source()
    node.issue(1, b"x", 0.0)
    node._take_control(WRITER, CensusAnswer(77, [], [Done(1, "dead")]), 1.0)
    assert node.ended == [Done(1, "dead")]


def test_a_new_source_issues_nothing_before_it_knows_what_is_on_its_way() -> None:
    node = SourceNode(SOURCE, entry="a", generation=2, max_rows=9, max_bytes=1000)
    node.adopt(0.0)
    node.tick(1.0)
    assert not node.room()
    node.apply_view(source().view, 1.0)
    node.tick(1.0)
    assert not node.room()
    answer_all(node, 1.0, [(4, 65536)])
    assert node.room()
    assert list(node.outstanding) == [4]
    assert len(node.outbox) == 0
    node.issue(4, b"body", 1.0, priority=3)
    assert len(node.outbox) == 0
    assert node.bytes == 4
    assert node.outstanding[4].priority == 3


def test_a_new_source_alone_in_the_world_has_nothing_to_adopt() -> None:
    node = SourceNode(SOURCE, entry="a", generation=2, max_rows=9, max_bytes=1000)
    node.adopt(0.0)
    node.apply_view(View(1, 1, SOURCE, (Member(SOURCE, "source", "", ""),)), 1.0)
    node.tick(1.0)
    assert node.room()


def test_an_adopted_row_that_is_lost_before_its_body_is_known_makes_room_for_itself() -> None:
    node = source(max_rows=1)
    node.adopt(0.0)
    node.tick(0.0)
    answer_all(node, 0.0, [(4, 65536)])
    assert not node.room()
    for now in (6.0, 7.0):
        node.tick(now)
        answer_all(node, now, [])
    assert node.room()
    node.issue(4, b"body", 8.0)
    (kept,) = node.outbox.messages.values()
    assert kept.message.epoch > 65536


def test_an_adopted_row_that_cannot_start_is_not_counted_twice() -> None:
    node = source()
    node.adopt(0.0)
    node.tick(0.0)
    answer_all(node, 0.0, [(4, 65536)])
    node.bury(4, b"body", "no JSON", 1.0)
    node.bury(4, b"body", "no JSON", 1.0)
    assert node.bytes == 4
    assert len(node.outbox) == 0


def test_issuing_again_takes_no_epoch_from_other_rows_or_later_sources() -> None:
    node = source(max_rows=9)
    for row in range(3):
        node.issue(row, b"x", 0.0)
        for _ in range(3):
            node._issue_again(row, node.outstanding[row], 0.0)
    assert [node.outstanding[row].epoch - (2 << 16) for row in range(3)] == [3, 3, 3]


# the writer


def end(row: int, ref: int, *segments: int, hop: int = 1, epoch: int = 1) -> Message:
    return Message(row, epoch, 0, hop, ACCEPT, ref, b"body", list(segments))


@pytest.mark.parametrize(
    "arrivals",
    [
        "m12",
        "1m2",
        "12m",
        "2m1",
        "m21",
        "1m12",
    ],
)
def test_a_row_waits_for_its_segments_in_whatever_order_they_come(arrivals: str) -> None:
    node = make_writer(WRITER)
    for arrival in arrivals:
        assert node.due(0.0, flush=True) == []
        if arrival == "m":
            node._take_message(AGENT, end(7, 9, AGENT, 1, AGENT, 2), 0.0)
        else:
            node._take_segment(AGENT, SegmentItem(int(arrival), 7, arrival.encode()), 0.0)
    assert node.due(0.0, flush=True) == [0]
    (finished,) = node.take_batch(0).rows
    assert finished.segments == [b"1", b"2"]


def test_a_segment_that_does_not_come_is_not_waited_for_for_ever() -> None:
    cluster = Cluster({AGENT: "a"})
    node = cluster.writer
    node._take_message(AGENT, end(7, 9, 99, 1), cluster.now)
    assert node.load() == 1
    node.tick(cluster.now + 11)
    assert node.load() == 0


def test_the_lineage_that_is_complete_wins_over_one_that_waits() -> None:
    node = make_writer(WRITER)
    node._take_message(AGENT, end(7, 9, 99, 1, epoch=5), 0.0)
    node._take_message(AGENT, end(7, 10, epoch=1), 0.0)
    assert node.waiting == {}
    (finished,) = node.take_batch(0).rows
    assert finished.epoch == 1


def test_a_row_that_comes_again_is_committed_once() -> None:
    node = make_writer(WRITER)
    node._take_message(AGENT, end(7, 1), 0.0)
    node._take_message(AGENT, end(7, 2, epoch=2), 0.0)
    batch = node.take_batch(0)
    node._take_message(AGENT, end(7, 3, epoch=3), 0.0)
    assert [finished.epoch for finished in batch.rows] == [1]
    assert node.due(0.0, flush=True) == []
    node.committed(batch, 0.0)
    node._take_message(AGENT, end(7, 4, epoch=4), 0.0)
    assert node.idle()


def test_a_batch_that_failed_is_tried_again_with_the_rows_before_others() -> None:
    node = make_writer(WRITER)
    node._take_message(AGENT, end(1, 1), 0.0)
    batch = node.take_batch(0)
    node._take_message(AGENT, end(2, 2), 0.0)
    node._take_message(AGENT, end(1, 3, epoch=9), 0.0)
    node.failed(batch, 1.0)
    assert [finished.row for finished in node.take_batch(0).rows] == [1, 2]


def test_rows_that_an_earlier_commit_brought_in_are_committed_too() -> None:
    node = make_writer(WRITER)
    node._take_message(AGENT, end(1, 1), 0.0)
    node.committed(node.take_batch(0), 0.0, already=frozenset({1}))
    assert node.done_rows.status(1) == "accepted"
    node._take_message(AGENT, end(1, 2, epoch=9), 0.0)
    assert node.due(9.0, flush=True) == []


def test_segments_are_let_go_with_their_row_and_not_before() -> None:
    node = make_writer(WRITER)
    node._take_segment(AGENT, SegmentItem(1, 7, b"mine"), 0.0)
    node._take_segment(12, SegmentItem(1, 7, b"of a lineage that is lost"), 0.0)
    node._take_message(AGENT, end(7, 9, AGENT, 1), 0.0)
    assert node.segments_held() == 2
    node.committed(node.take_batch(0), 0.0)
    assert node.segments_held() == 0
    node._take_segment(12, SegmentItem(2, 7, b"late"), 0.0)
    assert node.segments_held() == 0


def test_a_writer_starts_from_what_the_table_has() -> None:
    committed = CommittedRows()
    committed.add(7, "rejected")
    node = make_writer(WRITER, committed)
    cluster = Cluster({AGENT: "a"})
    node.apply_view(cluster.source.view, 0.0)
    node._take_message(AGENT, end(7, 1), 0.0)
    node._take_control(SOURCE, CensusAsk(1, [7, 8]), 0.0)
    node.connect(SOURCE, 0.0)
    said = [frame for peer, frame in node.outgoing(0.0) if peer == SOURCE]
    assert [done for frame in said for done in frame.done] == [Done(7, "rejected")]
    (control,) = (control for frame in said for control in frame.control)
    assert control == CensusAnswer(1, [], [Done(7, "rejected")])


@pytest.mark.parametrize(
    ("interval", "max_batch", "rows", "at", "due"),
    [
        (1.0, 9, 1, 0.5, False),
        (1.0, 9, 1, 1.0, True),
        (1.0, 2, 2, 0.0, True),
        (0.0, 9, 1, 0.0, True),
        (1.0, 9, 0, 99.0, False),
    ],
)
def test_a_batch_is_due_when_it_is_full_or_old(
    interval: float, max_batch: int, rows: int, at: float, due: bool
) -> None:
    node = make_writer(WRITER)
    node.interval, node.max_batch = interval, max_batch
    for row in range(rows):
        node._take_message(AGENT, end(row, row), 0.0)
    assert bool(node.due(at)) == due
    if rows:
        node.take_batch(0)
        node._take_message(AGENT, end(99, 99), at)
        assert node.due(at + 99) == []
