"""Several pipelines attacked at once: while one starts, the others are struck."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import count, islice
from typing import Protocol

from weft.attack.campaign import Attack, Called, Round
from weft.attack.strikes import Strike, strikes

ROWS_AT_LEAST = 1000
"""Of a source, however few strikes are wanted."""


class _Attack(Protocol):
    def run(self, strikes: Iterator[Strike], wanted: int) -> Round: ...


def campaign(
    seed: int,
    kills: int,
    *,
    rows_a_strike: int,
    per_round: int,
    lanes: int,
    say: Callable[[str], None],
    attack: Callable[[str, int, threading.Event], _Attack] = Attack,
) -> list[Round]:
    """`kills` strikes, dealt out to so many lanes, each of which attacks one pipeline after the
    other. A pipeline that breaks ends the campaign; the others are not judged then."""
    off = threading.Event()
    rounds: list[Round] = []

    def lane(number: int) -> None:
        share = len(range(number, kills, lanes))
        planned = islice(strikes(str(seed), kills), number, None, lanes)
        struck = 0
        for turn in count():
            if struck >= share or off.is_set():
                return
            wanted = min(per_round, share - struck)
            rows = rows_a_strike * wanted + ROWS_AT_LEAST
            try:
                found = attack(f"{seed}/{number}/{turn}", rows, off).run(planned, wanted)
            except Called:
                return
            rounds.append(found)
            struck += len(found.blows)
            if not (found.blows or found.faults):
                found.faults.append("no strike hit: give more --rows-a-strike")
            if found.faults:
                off.set()
            say(
                f"a pipeline: {len(found.blows)} strikes in {found.seconds:.0f} s, "
                f"{found.found:,} of {found.rows:,} rows" + ("  BROKEN" if found.faults else "")
            )

    with ThreadPoolExecutor(lanes) as pool:
        try:
            for done in as_completed([pool.submit(lane, number) for number in range(lanes)]):
                done.result()
        except BaseException:
            off.set()
            raise
    return rounds
