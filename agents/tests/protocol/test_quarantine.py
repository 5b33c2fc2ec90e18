"""A row that kills whoever handles it ends as dead, and takes no other row with it."""

from __future__ import annotations

import pytest
from cluster import Cluster

from weft.protocol.message import ACCEPT, DEAD
from weft.protocol.quarantine import SUSPECT, TOGETHER

ROWS = 60


class Attacked:
    """One step, each of whose instances is replaced when a deadly row has killed it."""

    def __init__(self, deadly: set[int], *, instances: int = 1, concurrency: int = 16) -> None:
        self.deadly = deadly
        self.concurrency = concurrency
        self.deaths = 0
        self.cluster = Cluster({10 + n: "a" for n in range(instances)})
        self.most_together: dict[int, int] = {}
        """Deaths so far -> rows in hand at once of those that were suspects by then."""
        for row in range(ROWS):
            self.cluster.source.issue(row, b"row", 0.0)

    def run(self, rounds: int = 300) -> dict[int, str]:
        """Row -> its end, once every row has one."""
        cluster = self.cluster
        for _ in range(rounds):
            cluster.pass_on()
            for incarnation in list(cluster.agents):
                self._work(incarnation)
            cluster.pass_on()
            cluster.commit()
            cluster.pass_on()
            if not cluster.source.outstanding:
                break
        done = cluster.writer.done_rows
        return {row: done.status(row) for row in range(ROWS)}

    def _work(self, incarnation: int) -> None:
        """As many as it may hold; then the deadly ones strike, or all complete."""
        cluster = self.cluster
        node = cluster.agents[incarnation]
        hand = []
        while len(hand) < self.concurrency and (work := node.take(cluster.now)) is not None:
            hand.append(work)
            if work.message.crashes >= SUSPECT:
                crashes = work.message.crashes
                self.most_together[crashes] = max(self.most_together.get(crashes, 0), len(hand))
        if any(work.message.row in self.deadly for work in hand):
            self.deaths += 1
            cluster.kill(incarnation)
            cluster.add(100 + self.deaths, "a")
            return
        for work in hand:
            node.complete(work, ACCEPT, work.message.body, b"s", cluster.now)


@pytest.mark.parametrize("instances", [1, 2])
@pytest.mark.parametrize("deadly", [{0}, {59}, {7, 8, 9, 30}])
def test_a_row_that_kills_takes_no_other_row_with_it(deadly: set[int], instances: int) -> None:
    attacked = Attacked(deadly, instances=instances)
    ends = attacked.run()
    assert {row for row, end in ends.items() if end == "dead"} == deadly
    assert {end for row, end in ends.items() if row not in deadly} == {"accepted"}
    # Four rows that kill: each may cost as many deaths as one alone, and no more.
    assert attacked.deaths <= 5 * len(deadly)
    assert not attacked.cluster.kept()


def test_suspects_are_handled_a_few_together_and_then_alone() -> None:
    attacked = Attacked({20})
    attacked.run()
    assert attacked.most_together[SUSPECT] == TOGETHER
    assert {n for crashes, n in attacked.most_together.items() if crashes > SUSPECT} == {1}


def test_a_suspect_is_not_begun_before_its_holder_knows() -> None:
    cluster = Cluster({11: "a"})
    cluster.source.issue(0, b"row", 0.0)
    for incarnation in (12, 13):
        cluster.pass_on()
        assert cluster.agents[incarnation - 1].take(cluster.now) is not None
        cluster.kill(incarnation - 1)
        cluster.add(incarnation, "a")
    cluster.pass_on()
    agent = cluster.agents[13]
    assert agent.take(cluster.now) is None
    (kept,) = cluster.source.outbox.messages.values()
    assert not kept.in_hand
    cluster.pass_on()
    assert kept.in_hand
    assert agent.take(cluster.now) is not None


def test_a_suspect_whose_turn_has_not_come_is_not_blamed_for_a_death() -> None:
    cluster = Cluster({11: "a"})
    for row in range(TOGETHER + 2):
        cluster.source.issue(row, b"row", 0.0)
    for incarnation in (12, 13):
        cluster.pass_on()
        cluster.kill(incarnation - 1)
        cluster.add(incarnation, "a")
    cluster.pass_on()
    cluster.agents[13].take(cluster.now)  # Begins the first round: tells the holders.
    cluster.pass_on()
    cluster.kill(13)
    crashes = [kept.message.crashes for kept in cluster.source.outbox.messages.values()]
    assert sorted(crashes) == [SUSPECT] * 2 + [SUSPECT + 1] * TOGETHER


def test_other_rows_wait_while_a_suspect_is_in_hand_and_then_go_on() -> None:
    cluster = Cluster({11: "a"})
    cluster.source.issue(0, b"row", 0.0)
    for incarnation in (12, 13):
        cluster.pass_on()
        cluster.kill(incarnation - 1)
        cluster.add(incarnation, "a")
    cluster.source.issue(1, b"row", 0.0)
    cluster.pass_on()
    agent = cluster.agents[13]
    agent.take(cluster.now)
    cluster.pass_on()
    suspect = agent.take(cluster.now)
    assert suspect is not None
    assert suspect.message.row == 0
    assert agent.take(cluster.now) is None
    assert not agent.ready()
    assert agent.load() >= 2
    agent.complete(suspect, ACCEPT, b"row", b"s", cluster.now)
    assert agent.take(cluster.now) is None  # Nothing more before its holder knows that it is over.
    cluster.pass_on()
    assert agent.ready()
    other = agent.take(cluster.now)
    assert other is not None
    assert other.message.row == 1
    agent.complete(other, DEAD, b"row", b"s", cluster.now, reason="no")
    cluster.pass_on()
    cluster.commit()
    cluster.pass_on()
    assert not cluster.source.outstanding
    assert not cluster.kept()


def test_a_suspect_whose_holder_dies_is_begun_all_the_same() -> None:
    cluster = Cluster({11: "a", 21: "b"})
    cluster.source.issue(0, b"row", 0.0)
    cluster.pass_on()
    cluster.hop(11, "b")
    for incarnation in (22, 23):
        cluster.pass_on()
        cluster.kill(incarnation - 1)
        cluster.add(incarnation, "b")
    cluster.pass_on()
    agent = cluster.agents[23]
    assert agent.take(cluster.now) is None
    cluster.kill(11)
    assert agent.ready()
    assert agent.take(cluster.now) is not None
