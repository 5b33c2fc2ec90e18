"""Who keeps a row until when, and what comes of it when processes die: the machines together."""

from __future__ import annotations

import pytest
from cluster import SOURCE, WRITER, Cluster, make_writer

from weft.protocol.message import ACCEPT, DEAD, Frame


def test_a_row_goes_through_and_leaves_nothing_behind() -> None:
    cluster = Cluster({11: "a", 12: "b"})
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    cluster.hop(11, "b")
    cluster.pass_on()
    cluster.hop(12, ACCEPT)
    cluster.pass_on()
    assert cluster.commit() == [7]
    cluster.pass_on()
    assert [(done.row, done.status) for done in cluster.source.ended] == [(7, "accepted")]
    assert cluster.kept() == {}
    assert cluster.source.outstanding == {}
    assert cluster.source.bytes == 0


def test_the_one_before_keeps_its_copy_until_the_next_one_has_accepted() -> None:
    cluster = Cluster({11: "a", 12: "b"})
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    assert len(cluster.source.outbox.messages) == 1
    cluster.hop(11, "b")
    assert len(cluster.source.outbox.messages) == 1
    cluster.pass_on()
    assert len(cluster.source.outbox.messages) == 0
    assert len(cluster.agents[11].outbox.messages) == 1


def test_a_parent_is_not_settled_before_the_writer_has_the_segment() -> None:
    cluster = Cluster({11: "a", 12: "b"})
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    cluster.agents[11].disconnect(WRITER, cluster.now)
    cluster.hop(11, "b")
    cluster.pass_on()
    assert len(cluster.agents[12].inbox) == 1
    assert len(cluster.source.outbox.messages) == 1
    cluster.agents[11].connect(WRITER, cluster.now)
    cluster.pass_on()
    assert len(cluster.source.outbox.messages) == 0


def test_a_row_whose_holder_dies_goes_on_from_the_one_before() -> None:
    cluster = Cluster({11: "a", 12: "b", 13: "b"})
    for row in range(8):
        cluster.source.issue(row, b"row", cluster.now)
    cluster.pass_on()
    for _ in range(8):
        cluster.hop(11, "b")
    cluster.pass_on()
    cluster.kill(12)
    cluster.pass_on()
    inbox = cluster.agents[13].inbox
    assert sorted(work.message.row for work in inbox.works()) == list(range(8))
    assert cluster.source.reissued == 0


def test_a_row_that_goes_back_to_its_own_step_stays_and_the_one_before_keeps_it() -> None:
    cluster = Cluster({11: "a"})
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    for _ in range(3):
        cluster.hop(11, "a")
        cluster.pass_on()
        assert len(cluster.source.outbox.messages) == 1
        assert 11 not in cluster.agents[11].links
    cluster.hop(11, ACCEPT)
    cluster.pass_on()
    assert len(cluster.source.outbox.messages) == 0


def test_what_a_dead_instance_of_our_own_step_held_can_come_to_us() -> None:
    cluster = Cluster({11: "a", 12: "a"})
    for row in range(20):
        cluster.source.issue(row, b"row", cluster.now)
    cluster.pass_on()
    cluster.agents[11].hand_back(cluster.now)
    cluster.pass_on()
    assert any(kept.target == 12 for kept in cluster.agents[11].outbox.messages.values())
    cluster.kill(12)
    cluster.pass_on()
    assert 11 not in cluster.agents[11].links
    held = [work.message.row for work in cluster.agents[11].inbox.works()]
    assert sorted(held) == list(range(20))


def test_rows_whose_holders_all_die_are_issued_again_with_a_higher_epoch() -> None:
    cluster = Cluster({11: "a", 12: "b", 13: "b"})
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    cluster.hop(11, "b")
    cluster.pass_on()
    before = next(iter(cluster.source.outstanding.values())).epoch
    holder = 12 if len(cluster.agents[12].inbox) else 13
    cluster.kill(11, tell=False)
    cluster.kill(holder)
    cluster.add(21, "a")
    cluster.pass_on(seconds=3)
    (work,) = cluster.agents[21].inbox.works()
    assert work.message.epoch > before
    assert (work.message.hop, work.message.fork) == (0, 0)
    assert cluster.source.reissued == 1


def test_a_new_writer_gets_the_ends_and_the_segments_that_the_old_one_had() -> None:
    cluster = Cluster({11: "a"})
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    cluster.hop(11, ACCEPT)
    cluster.pass_on()
    cluster.kill(WRITER)
    assert cluster.kept()[11] == 2
    cluster.writer = cluster.nodes[30] = make_writer(30)
    cluster.publish()
    cluster.connect_all()
    cluster.pass_on()
    assert cluster.commit() == [7]
    cluster.pass_on()
    assert cluster.kept() == {}
    assert cluster.source.reissued == 0


def test_a_leaving_agent_hands_back_what_it_has_not_begun() -> None:
    cluster = Cluster({11: "a", 12: "a"})
    for row in range(10):
        cluster.source.issue(row, b"row", cluster.now)
    cluster.pass_on()
    leaving = cluster.agents[11]
    work = leaving.take(cluster.now)
    assert work is not None
    cluster.draining.add(11)
    cluster.publish()
    leaving.hand_back(cluster.now)
    assert not leaving.idle()
    cluster.pass_on()
    assert len(leaving.inbox) == 0
    assert len(cluster.agents[12].inbox) == 9
    leaving.complete(work, ACCEPT, b"done", b"s", cluster.now)
    cluster.pass_on()
    for _ in range(9):
        cluster.hop(12, ACCEPT)
        cluster.pass_on()
    assert len(cluster.commit()) == 10
    cluster.pass_on()
    assert leaving.idle()
    assert cluster.source.reissued == 0


def test_the_last_instance_of_a_step_keeps_its_rows_when_it_is_to_leave() -> None:
    cluster = Cluster({11: "a"})
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    cluster.draining.add(11)
    cluster.publish()
    cluster.agents[11].hand_back(cluster.now)
    assert len(cluster.agents[11].inbox) == 1
    assert not cluster.agents[11].idle()


def test_the_last_instance_may_leave_without_handling_what_waits_and_no_row_is_blamed() -> None:
    cluster = Cluster({11: "a"})
    for row in range(5):
        cluster.source.issue(row, b"row", cluster.now)
    cluster.pass_on()
    leaving = cluster.agents[11]
    work = leaving.take(cluster.now)
    assert work is not None
    assert leaving.alone()
    leaving.close()
    assert leaving.take(cluster.now) is None
    assert not leaving.may_leave()
    leaving.complete(work, ACCEPT, b"row", b"s", cluster.now)
    cluster.pass_on()
    leaving.close()
    assert leaving.may_leave(), "the holders were told once more"
    cluster.kill(11)
    cluster.add(12, "a")
    cluster.pass_on()
    others = cluster.agents[12]
    assert [work.message.crashes for work in others.inbox.works()] == [0] * 4
    for _ in range(4):
        cluster.hop(12, ACCEPT)
    cluster.pass_on()
    assert len(cluster.commit()) == 5
    assert cluster.source.reissued == 0


def test_an_agent_whose_segment_no_writer_has_may_not_leave() -> None:
    cluster = Cluster({11: "a", 12: "b"})
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    cluster.kill(WRITER)
    cluster.hop(11, "b")
    cluster.pass_on()
    agent = cluster.agents[11]
    agent.outbox.messages.clear()
    assert not agent.idle()


def test_a_message_handed_back_can_come_back() -> None:
    cluster = Cluster({11: "a", 12: "a"})
    for row in range(10):
        cluster.source.issue(row, b"row", cluster.now)
    cluster.pass_on()
    before = len(cluster.agents[11].inbox)
    cluster.agents[11].hand_back(cluster.now)
    cluster.pass_on()
    cluster.agents[11]._avoid.clear()
    cluster.agents[12].hand_back(cluster.now)
    cluster.pass_on()
    assert before > 0
    assert len(cluster.agents[11].inbox) == 10
    assert cluster.kept() == {12: 10}


def test_a_peer_that_cannot_be_reached_loses_its_rows_to_another() -> None:
    cluster = Cluster({11: "a", 12: "a"})
    cluster.source.disconnect(11, cluster.now)
    cluster.agents[11].disconnect(SOURCE, cluster.now)
    for row in range(10):
        cluster.source.issue(row, b"row", cluster.now)
    cluster.pass_on(seconds=2 * cluster.source.unreachable_after)
    assert len(cluster.agents[12].inbox) == 10
    assert cluster.source.links[11].load == 0
    for row in range(10, 20):
        cluster.source.issue(row, b"row", cluster.now)
    assert cluster.source.links[11].load == 0


def test_a_row_that_kills_whoever_handles_it_ends_as_dead_with_a_reason() -> None:
    cluster = Cluster({11: "a"}, max_crashes=2)
    cluster.source.issue(7, b"row", cluster.now)
    for incarnation in (21, 22):
        cluster.pass_on()
        cluster.kill(max(cluster.agents))
        cluster.add(incarnation, "a").max_crashes = 2
    cluster.pass_on()
    last = cluster.agents[22]
    assert last.take(cluster.now) is None  # It tells the holder first (`test_quarantine`).
    cluster.pass_on()
    assert last.take(cluster.now) is not None
    cluster.kill(22)
    cluster.add(23, "a").max_crashes = 2
    cluster.pass_on()
    assert cluster.agents[23].take(cluster.now) is None
    cluster.pass_on()
    (partition,) = cluster.writer.due(cluster.now, flush=True)
    (finished,) = cluster.writer.take_batch(partition).rows
    assert finished.status == "dead"
    assert "3 processes died" in finished.reason


def test_a_hop_that_is_done_clears_the_count_of_crashes_and_attempts() -> None:
    cluster = Cluster({11: "a", 12: "b"})
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    work = cluster.agents[11].take(cluster.now)
    assert work is not None
    work.message.crashes = 1
    cluster.agents[11].retry(work)
    cluster.hop(11, "b")
    cluster.pass_on()
    (work,) = cluster.agents[12].inbox.works()
    assert (work.message.crashes, work.message.attempts) == (0, 0)


@pytest.mark.parametrize("newer", [(1, 0, 0), (0, 1, 0), (0, 0, 5)])
def test_work_on_a_lineage_that_another_has_passed_takes_no_effect(
    newer: tuple[int, int, int],
) -> None:
    cluster = Cluster({11: "a", 12: "b"})
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    agent = cluster.agents[11]
    work = agent.take(cluster.now)
    assert work is not None
    message = work.message
    other = type(message)(
        7,
        message.epoch + newer[0],
        message.fork + newer[1],
        message.hop + newer[2],
        "a",
        99,
        b"newer",
    )
    agent._take_message(12, other, cluster.now)
    agent.complete(work, "b", b"older", b"s", cluster.now)
    assert len(agent.outbox) == 0
    again = agent.take(cluster.now)
    assert again is not None
    assert again.message.body == b"newer"


def test_a_process_that_is_declared_dead_does_nothing_more() -> None:
    cluster = Cluster({11: "a", 12: "a"})
    for row in range(10):
        cluster.source.issue(row, b"row", cluster.now)
    cluster.pass_on()
    zombie = cluster.agents[11]
    work = zombie.take(cluster.now)
    assert work is not None
    cluster.kill(11)
    zombie.apply_view(cluster.source.view, cluster.now)
    assert zombie.fenced_off
    zombie.complete(work, DEAD, b"", b"s", cluster.now)
    assert len(zombie.outbox) == 0
    cluster.source.receive(11, Frame(seq=1), cluster.now)
    assert 11 not in cluster.source.links
    cluster.source.connect(11, cluster.now)
    assert 11 not in cluster.source.links
