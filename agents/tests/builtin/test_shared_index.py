"""The index that replicas share: its parts are real, calls to them take as long as they like."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from weft.builtin import shared_index
from weft.builtin.likeness import Found, signature
from weft.builtin.near_duplicates import NearDuplicateConfig
from weft.builtin.shared_index import Asked, Part, SharedIndex, _Line
from weft.engines.base import EngineError

CONFIG = NearDuplicateConfig(column="text", threshold=0.7, parts=4)


class _Slow(_Line):
    """Calls a part in this process, after a while of chance."""

    def to(self, part: Part, chance: random.Random) -> None:
        self._called, self._chance = part, chance

    async def _ask(self, rows: list[Asked]) -> list[Found | None]:
        await asyncio.sleep(self._chance.random() / 500)
        return await self._called.add(self._user, rows)

    def take_back(self, name: str, attempt: int) -> None:
        async def later() -> None:
            await asyncio.sleep(self._chance.random() / 500)
            await self._called.forget([(name, attempt)])

        self._late = asyncio.create_task(later())


def made(
    parts: Sequence[Part], chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> SharedIndex:
    monkeypatch.setattr(shared_index, "_Line", _Slow)
    index = SharedIndex(CONFIG, "unique", "/out")
    for line, part in zip(index._lines, parts, strict=True):
        assert isinstance(line, _Slow)
        line.to(part, chance)
    return index


def empty(number: int) -> Part:
    part = Part(CONFIG, number, "/out")
    part._loaded = True  # There is no output here to learn from.
    return part


async def test_of_rows_that_are_alike_one_passes_in_whatever_order_the_calls_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for seed in range(30):
        chance = random.Random(seed)
        parts = [empty(number) for number in range(CONFIG.parts)]
        replicas = [made(parts, chance, monkeypatch) for _ in range(3)]
        groups = [chance.sample(range(100_000), 40) for _ in range(12)]
        # Copies of a text that differ in one word of forty: alike, each to each.
        rows = [
            (f"{number}-{copy}", signature([*map(str, group[:39]), f"end {copy}"], CONFIG.parts))
            for number, group in enumerate(groups)
            for copy in range(3)
        ]
        chance.shuffle(rows)
        found = await asyncio.gather(
            *(replicas[at % 3].add(name, signed) for at, (name, signed) in enumerate(rows))
        )
        passed = [name for (name, _), other in zip(rows, found, strict=True) if other is None]
        assert sorted(name.split("-")[0] for name in passed) == sorted(map(str, range(12))), seed
        await asyncio.sleep(0.01)
        assert {await part.size() for part in parts} == {12}, "what was shut out is taken back"


async def test_a_row_that_comes_again_to_another_replica_is_not_like_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = [empty(number) for number in range(CONFIG.parts)]
    one, other = (made(parts, random.Random(number), monkeypatch) for number in range(2))
    text = signature(["a b c", "b c d"], CONFIG.parts)
    assert await one.add("row", text) is None
    assert await other.add("row", text) is None
    assert (
        await asyncio.gather(*(index.add("row", text) for index in (one, other, one))) == [None] * 3
    )
    assert await one.add("another", text) == ("row", 1.0)


async def test_a_part_that_does_not_answer_costs_an_attempt_and_no_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Away(_Line):
        def _found_or_made(self) -> object:
            raise ValueError("Failed to look up actor 'x'")

    monkeypatch.setattr(shared_index, "_Line", Away)
    index = SharedIndex(CONFIG, "unique", "/out")
    signed = signature(["a b c"], CONFIG.parts)
    with pytest.raises(EngineError, match="part 0 of the index") as error:
        await asyncio.gather(*(index.add(f"row {number}", signed) for number in range(3)))
    assert error.value.transient


async def test_a_late_withdrawal_does_not_take_away_what_came_after_it() -> None:
    part = empty(0)
    signed = signature(["a b c"], CONFIG.parts)
    assert await part.add("u", [("row", 1, signed)]) == [None]
    assert await part.add("u", [("row", 2, signed)]) == [None]
    await part.forget([("row", 1)])
    assert await part.size() == 1
