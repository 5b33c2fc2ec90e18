"""How long rows waited after a blow, read from the table's records."""

from __future__ import annotations

from typing import Any

from weft.attack.blows import Blow, recovery


def row(*hops: tuple[float, int], epoch: int = 1 << 16) -> dict[str, Any]:
    """Of hops with (time of the start, fork)."""
    return {"provenance": [{"started": at, "fork": fork, "epoch": epoch} for at, fork in hops]}


def test_a_row_that_was_sent_again_waited_from_the_first_blow_on() -> None:
    blows = [Blow("writer killed", 12.5, [2]), Blow("agent killed", 12.0, [1])]
    found = recovery([row((10.0, 0), (11.0, 0), (12.75, 1), (13.0, 1))], blows)
    assert found.waits == {"agent killed": [0.75]}
    assert (found.went_on, found.restarted) == (1, 0)


def test_a_row_that_nothing_happened_to_has_waited_for_nothing() -> None:
    found = recovery([row((10.0, 0), (14.0, 0))], [Blow("agent killed", 12.0, [1])])
    assert (found.waits, found.went_on, found.restarted) == ({}, 0, 0)


def test_a_start_of_the_command_counts_to_its_first_hop() -> None:
    blows = [Blow("GCS killed", 12.0, [1], began_again=20.0)]
    rows = [row((11.0, 0)), row((33.0, 0), epoch=1 << 16 | 1), row((31.0, 0), (32.0, 0))]
    found = recovery(rows, blows)
    assert found.waits == {"GCS killed": [11.0]}
    assert found.restarted == 1


def test_rows_that_began_anew_are_told_from_those_that_went_on() -> None:
    found = recovery([row((10.0, 1), (11.0, 1)), row((10.0, 0), epoch=1 << 16 | 2), row()], [])
    assert (found.went_on, found.restarted) == (0, 2)
