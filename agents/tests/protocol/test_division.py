"""A divided row: its branches go their own ways and come together again, whatever dies."""

from __future__ import annotations

import pytest
from cluster import Cluster
from msgspec.structs import replace

from weft.protocol.inbox import Work
from weft.protocol.message import ACCEPT, DEAD, REJECT, Message, Part
from weft.protocol.router import meeting_place
from weft.protocol.view import Member

STEPS = {11: "a", 21: "b", 22: "b", 31: "c", 32: "c"}


def divided(agents: dict[int, str] = STEPS, ways: int = 3) -> Cluster:
    """Row 7 has been divided by agent 11 into branches to b, to be joined at c."""
    cluster = Cluster(agents)
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    work = cluster.agents[11].take(cluster.now)
    assert work is not None
    parts = [("b", b"way%d" % at) for at in range(1, ways + 1)]
    cluster.agents[11].divide(work, parts, "c", b"row.", b"s", cluster.now)
    cluster.pass_on()
    return cluster


def handle_all(cluster: Cluster, step: str, to: str) -> None:
    for incarnation, node in cluster.agents.items():
        while node.step == step and node.ready():
            cluster.hop(incarnation, to)


def place(cluster: Cluster) -> int:
    """Where row 7 is joined, as things are."""
    return meeting_place([cluster.member(i) for i, n in cluster.agents.items() if n.step == "c"], 7)


def joined(cluster: Cluster) -> Work:
    """The row at the join."""
    (node,) = [node for node in cluster.agents.values() if node.step == "c" and node.ready()]
    work = node.take(cluster.now)
    assert work is not None
    return work


def finish(cluster: Cluster) -> None:
    """From the join on: the row ends, is committed, and nothing of it is left anywhere."""
    (at,) = [i for i, node in cluster.agents.items() if node.step == "c" and node.ready()]
    cluster.hop(at, ACCEPT)
    cluster.pass_on()
    assert cluster.commit() == [7]
    cluster.pass_on()
    cluster.pass_on(seconds=6)
    assert cluster.kept() == {}
    assert not any(node.load() or node.joins for node in cluster.agents.values())


def test_branches_are_joined_in_the_order_of_the_division_however_they_arrive() -> None:
    cluster = divided(agents={11: "a", 21: "b", 31: "c"})
    works = [cluster.agents[21].take(cluster.now) for _ in range(3)]
    for work in reversed(works):
        assert work is not None
        cluster.agents[21].complete(work, "c", work.message.body + b".", b"s", cluster.now)
        assert not cluster.agents[31].ready()
        cluster.pass_on()
    work = joined(cluster)
    bodies = [part.message.body for part in work.branches]
    assert bodies == [b"row.", b"way1.", b"way2.", b"way3."]
    assert work.message.body == b"row."
    assert work.message.branch is None
    assert all(
        (work.message.fork, work.message.hop) >= (part.message.fork, part.message.hop)
        for part in work.branches
    )
    # The row's own segment, and one for each branch, in their order.
    assert work.message.segments[::2] == [11, 21, 21, 21]


def test_a_divided_row_goes_through_and_leaves_nothing_behind() -> None:
    cluster = divided()
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    finish(cluster)


@pytest.mark.parametrize("end", [REJECT, DEAD])
def test_a_branch_that_comes_to_its_end_goes_to_the_join_and_says_so(end: str) -> None:
    cluster = divided(ways=2)
    first = next(node for node in cluster.agents.values() if node.step == "b" and node.ready())
    work = first.take(cluster.now)
    assert work is not None
    first.complete(work, end, b"", b"s", cluster.now, reason="no good")
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    at_join = joined(cluster)
    ends = [part.message.branch.end for part in at_join.branches if part.message.branch]
    assert sorted(ends) == ["", "", end]
    assert "no good" in [part.message.reason for part in at_join.branches]


def test_the_sender_of_each_branch_keeps_it_until_the_joined_row_is_with_another() -> None:
    cluster = divided()
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    kept = sum(len(node.outbox.messages) for i, node in cluster.agents.items() if i in (11, 21, 22))
    assert kept == 4
    (at,) = [i for i, node in cluster.agents.items() if node.step == "c" and node.ready()]
    cluster.hop(at, ACCEPT)
    assert cluster.agents[11].outbox.messages
    cluster.pass_on()
    assert not any(cluster.agents[i].outbox.messages for i in (11, 21, 22))


def test_the_sender_of_a_divided_row_keeps_it_until_all_branches_are_with_others() -> None:
    cluster = Cluster({11: "a", 21: "b", 25: "d", 31: "c"})
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    cluster.agents[11].disconnect(25, cluster.now)
    work = cluster.agents[11].take(cluster.now)
    assert work is not None
    ways = [("b", b"way1"), ("d", b"way2")]
    cluster.agents[11].divide(work, ways, "c", b"row.", b"s", cluster.now)
    cluster.pass_on()
    assert cluster.agents[21].ready()
    assert cluster.source.outbox.messages
    cluster.agents[11].connect(25, cluster.now)
    cluster.pass_on()
    assert not cluster.source.outbox.messages


@pytest.mark.parametrize("when", ["some branches are there", "all are there"])
def test_branches_come_together_elsewhere_when_the_place_dies(when: str) -> None:
    cluster = divided()
    if when == "all are there":
        handle_all(cluster, "b", "c")
    else:
        some = next(i for i in (21, 22) if cluster.agents[i].ready())
        cluster.hop(some, "c")
    cluster.pass_on()
    cluster.kill(place(cluster))
    cluster.pass_on()
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    assert len(joined(cluster).branches) == 4


def test_branches_that_senders_with_other_views_sent_apart_find_each_other() -> None:
    cluster = divided(agents={11: "a", 21: "b", 22: "b", 31: "c"}, ways=2)
    late = next(i for i in (21, 22) if cluster.agents[i].ready())
    cluster.hop(late, "c")
    cluster.pass_on()
    # Newcomers, until one of them is where the row now belongs.
    for newcomer in range(40, 60):
        cluster.add(newcomer, "c")
        if place(cluster) == newcomer:
            break
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    assert len(joined(cluster).branches) == 3
    finish_at = place(cluster)
    assert finish_at == newcomer


def test_a_place_that_leaves_hands_on_what_waits_there() -> None:
    cluster = divided(ways=2)
    some = next(i for i in (21, 22) if cluster.agents[i].ready())
    cluster.hop(some, "c")
    cluster.pass_on()
    leaving = place(cluster)
    cluster.draining.add(leaving)
    cluster.publish()
    node = cluster.agents[leaving]
    node.hand_back(cluster.now)
    cluster.pass_on()
    assert node.idle()
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    assert len(joined(cluster).branches) == 3
    assert node.idle()


def test_a_joined_row_that_was_not_begun_is_handed_on_in_its_branches() -> None:
    cluster = divided()
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    leaving = place(cluster)
    assert cluster.agents[leaving].ready()
    cluster.draining.add(leaving)
    cluster.publish()
    cluster.agents[leaving].hand_back(cluster.now)
    cluster.pass_on()
    assert cluster.agents[leaving].idle()
    finish(cluster)


def test_a_row_is_issued_again_when_one_of_its_branches_is_nowhere() -> None:
    cluster = divided(agents={11: "a", 21: "b", 31: "c"}, ways=2)
    lost = cluster.agents[21].take(cluster.now)
    assert lost is not None
    cluster.agents[21].lose(lost)
    for _ in range(5):
        cluster.pass_on(seconds=6)
    assert cluster.source.reissued == 1
    assert cluster.agents[11].ready()


def test_branches_of_a_row_that_is_over_do_not_wait_for_ever() -> None:
    cluster = divided(agents={11: "a", 21: "b", 31: "c"}, ways=2)
    cluster.hop(21, "c")
    cluster.pass_on()
    assert cluster.agents[31].joins
    lost = cluster.agents[21].take(cluster.now)
    assert lost is not None
    cluster.agents[21].lose(lost)
    del cluster.source.outstanding[7]
    cluster.pass_on(seconds=6)
    cluster.pass_on(seconds=6)
    assert not cluster.agents[31].joins
    assert not cluster.agents[21].outbox.messages


def test_branches_of_another_division_are_never_joined_to_these() -> None:
    cluster = divided(agents={11: "a", 21: "b", 31: "c"}, ways=2)
    cluster.hop(21, "c")
    cluster.pass_on()
    # The source takes agent 11 for dead and the row is divided once more, by a successor.
    cluster.source.issue(8, b"other", cluster.now)
    cluster.source._issue_again(7, cluster.source.outstanding[7], cluster.now)
    cluster.pass_on()
    node = cluster.agents[11]
    while (work := node.take(cluster.now)) is not None:
        if work.message.row == 7:
            node.divide(work, [("b", b"new1"), ("b", b"new2")], "c", b"new.", b"s", cluster.now)
    cluster.pass_on()
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    assert [part.message.body for part in joined(cluster).branches] == [b"new.", b"new1.", b"new2."]


def test_a_branch_sent_again_late_does_not_stop_the_next_division_of_its_row() -> None:
    """Seed 529: a copy of a branch whose settlement had died with its holder came by once more,
    with a higher fork, when the row had been joined and divided anew."""
    cluster = divided(agents={11: "a", 21: "b", 31: "c"}, ways=1)
    late = [
        replace(kept.message, fork=1000, ref=900)
        for kept in cluster.agents[11].outbox.messages.values()
        if kept.message.to == "b"
    ]
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    cluster.hop(31, "a")
    cluster.pass_on()
    cluster.agents[21]._take_message(11, late[0], cluster.now)
    work = cluster.agents[11].take(cluster.now)
    assert work is not None
    cluster.agents[11].divide(work, [("b", b"second")], "c", b"row..", b"s", cluster.now)
    cluster.pass_on()
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    assert [part.message.body for part in joined(cluster).branches] == [b"row..", b"second."]


class Shelf:
    """Bodies of more than 8 bytes are put aside."""

    def __init__(self, name: str) -> None:
        self.name, self.held = name, dict[int, bytes]()

    def stow(self, message: Message) -> None:
        if len(message.body) > 8:
            key = len(self.held) + 1
            self.held[key] = message.body
            message.part = Part(self.name, key, len(message.body))
            message.body = b""

    def drop(self, part: Part) -> None:
        if part.holder == self.name:
            self.held.pop(part.key, None)


def test_an_agents_large_body_stays_with_it_until_it_is_settled() -> None:
    cluster = Cluster({11: "a", 12: "b"})
    shelf = cluster.agents[11].parts = Shelf("n11")
    cluster.source.issue(7, b"row", cluster.now)
    cluster.pass_on()
    work = cluster.agents[11].take(cluster.now)
    assert work is not None
    cluster.agents[11].complete(work, "b", b"a large body", b"s", cluster.now)
    cluster.pass_on()
    taken = cluster.agents[12].take(cluster.now)
    assert taken is not None
    assert taken.message.part is not None
    assert taken.message.body == b""
    assert list(shelf.held.values()) == [b"a large body"]
    cluster.agents[12].complete(taken, ACCEPT, b"small", b"s", cluster.now)
    cluster.pass_on()
    assert not shelf.held


def test_a_large_branch_that_is_handed_on_stays_with_its_first_holder() -> None:
    cluster = divided(ways=2)
    some = next(i for i in (21, 22) if cluster.agents[i].ready())
    shelf = cluster.agents[some].parts = Shelf(f"n{some}")
    work = cluster.agents[some].take(cluster.now)
    assert work is not None
    cluster.agents[some].complete(work, "c", b"a large branch", b"s", cluster.now)
    cluster.pass_on()
    leaving = place(cluster)
    cluster.draining.add(leaving)
    cluster.publish()
    cluster.agents[leaving].hand_back(cluster.now)
    cluster.pass_on()
    assert list(shelf.held.values()) == [b"a large branch"]
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    assert sum(part.message.part is not None for part in joined(cluster).branches) == 1
    assert list(shelf.held.values()) == [b"a large branch"]


def test_a_row_that_kills_where_it_is_joined_takes_no_other_with_it() -> None:
    """Two deaths make it a suspect; all who hold its branches are told before it is begun."""
    cluster = divided()
    handle_all(cluster, "b", "c")
    cluster.pass_on()
    for newcomer in (41, 42):
        cluster.add(newcomer, "c")
        cluster.pass_on()
        holder = next(i for i, n in cluster.agents.items() if n.step == "c" and n.ready())
        assert cluster.agents[holder].take(cluster.now) is not None
        cluster.kill(holder)
        cluster.pass_on()
    holder = next(i for i, n in cluster.agents.items() if n.step == "c" and n.quarantine)
    assert cluster.agents[holder].take(cluster.now) is None
    cluster.pass_on()
    assert cluster.agents[holder].take(cluster.now) is not None
    told = [
        kept.in_hand for i in (11, 21, 22) for kept in cluster.agents[i].outbox.messages.values()
    ]
    assert told == [True] * 4


def test_everybody_finds_the_same_place_and_few_rows_move_when_one_comes() -> None:
    members = [Member(i, "agent", f"n{i}", "", step="c") for i in (31, 32, 33)]
    rows = range(3000)
    before = [meeting_place(members, row) for row in rows]
    assert before == [meeting_place(members[::-1], row) for row in rows]
    shares = [before.count(i) for i in (31, 32, 33)]
    assert max(shares) < 1.2 * min(shares)
    more = [*members, Member(34, "agent", "n34", "", step="c")]
    after = [meeting_place(more, row) for row in rows]
    assert all(b in (a, 34) for a, b in zip(before, after, strict=True))
    assert 600 < after.count(34) < 900


def test_a_member_of_weight_zero_is_no_place_to_meet_while_there_are_others() -> None:
    members = [
        Member(31, "agent", "n31", "", step="c", weight=0),
        Member(32, "agent", "n32", "", step="c"),
    ]
    assert {meeting_place(members, row) for row in range(50)} == {32}
