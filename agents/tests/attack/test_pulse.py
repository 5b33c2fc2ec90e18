"""When a pipeline under attack counts as hung, and when it may be struck."""

from __future__ import annotations

from weft.attack.pulse import BEGINS, HOLD_FIRE, STALLED, Pulse


def begun(at: float = 0.0) -> Pulse:
    pulse = Pulse(at, 7)
    pulse.take(at, 8)
    return pulse


def test_a_start_has_longer_than_what_runs_and_is_not_struck() -> None:
    pulse = Pulse(100.0, 7)
    pulse.take(110.0, 7)
    assert not pulse.begun
    assert not pulse.holds(110.0)
    assert pulse.fault(100 + BEGINS - 1, 1.0) == ""
    assert pulse.fault(100 + BEGINS + 1, 1.0) == "no rows were committed within 151 s of the start"
    pulse.take(120.0, 8)
    assert pulse.begun
    assert pulse.holds(120.0)


def test_rows_that_get_through_are_life_however_long_it_takes() -> None:
    pulse = begun()
    for turn in range(1, 1000):
        now = turn * (STALLED - 1)
        assert pulse.fault(now, 1.0) == ""
        pulse.take(now, 8 + turn)


def test_no_commit_for_so_long_after_the_last_blow_is_a_hang() -> None:
    pulse = begun()
    pulse.struck(50.0)  # A pause: it ends then.
    pulse.struck(40.0)
    assert pulse.fault(50 + STALLED - 1, 1.0) == ""
    assert "with nothing struck meanwhile" in pulse.fault(50 + STALLED + 1, 1.0)


def test_a_slow_machine_has_longer_but_not_for_ever() -> None:
    pulse = begun()
    assert pulse.fault(STALLED * 9, 10.0) == ""
    assert pulse.fault(STALLED * 11, 10.0)


def test_nothing_is_struck_while_no_rows_get_through() -> None:
    pulse = begun()
    assert pulse.holds(HOLD_FIRE)
    assert not pulse.holds(HOLD_FIRE + 0.1)
    pulse.take(HOLD_FIRE + 1, 9)
    assert pulse.holds(HOLD_FIRE + 1)
