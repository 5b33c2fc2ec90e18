"""Writes scenarios.jsonl: support cases of an invented shop, each a row for the pipeline.

    python examples/support/make_scenarios.py > examples/support/scenarios.jsonl

Seeded: the same file every time. A case is a problem with details of its own, met by a person with
a manner, a mood, a wish and a hindrance (all in scenario_parts.toml). Every problem comes up about
equally often; no two rows share problem, person and manner.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from random import Random
from typing import Any

ROWS = 600
SEED = 20260101
PARTS = Path(__file__).with_name("scenario_parts.toml")
TURNS = {1: 2, 2: 4, 3: 3, 4: 1}
"""Answers that a dialogue is to have, and how often."""


def scenarios() -> list[dict[str, Any]]:
    """The rows, in a mixed order; README.md lists the columns."""
    parts = tomllib.loads(PARTS.read_text(encoding="utf-8"))
    chance = Random(SEED)
    problems = [parts["problems"][n % len(parts["problems"])] for n in range(ROWS)]
    chance.shuffle(problems)
    seen: set[tuple[str, str, str]] = set()
    rows = []
    for number, problem in enumerate(problems, start=1):
        while True:
            person, manner = chance.choice(parts["persons"]), chance.choice(parts["manners"])
            if (problem["title"], person, manner) not in seen:
                break
        seen.add((problem["title"], person, manner))
        case = drawn(problem, parts, chance)
        rows.append({"id": f"case-{number:04d}", **case, "person": person, "manner": manner})
    return rows


def drawn(problem: dict[str, Any], parts: dict[str, Any], chance: Random) -> dict[str, Any]:
    """A case of this problem, its details filled in."""
    product, price = chance.choice(parts["products"][chance.choice(problem["kinds"])])
    goods = [name for kind in parts["products"] if kind != "subscription"
             for name, _ in parts["products"][kind] if name != product]  # fmt: skip
    slots = {
        "product": product,
        "price": price,
        "part_price": round(price * chance.choice([0.6, 0.75, 0.85])),
        "small": chance.choice([9, 15, 19, 25, 29, 39]),
        "other": chance.choice(goods),
        "order": f"LL-{chance.randrange(20_000, 99_999)}",
        "parcel": f"PX{chance.randrange(10**8, 10**9)}",
        "rma": f"R-{chance.randrange(3_000, 9_999)}",
        "voucher": f"LOFT{chance.choice([10, 15, 20])}",
        "code": f"E-{chance.randrange(41, 99)}",
        "time": f"{chance.randrange(8, 19)}:{chance.choice(['05', '20', '35', '50'])}",
        "month": chance.choice(parts["months"]),
        "relative": chance.choice(parts["relatives"]),
        "part": chance.choice(parts["parts"]),
        "floor": chance.choice(parts["floors"]),
        "n": chance.randrange(2, 9),
        "m": chance.randrange(34, 70),
        "k": chance.randrange(2, 5),
        "step": chance.randrange(7, 24),
        "weight": chance.randrange(24, 79),
        "percent": chance.choice([10, 15, 20]),
    }
    for one, other, names in (
        ("day", "day2", parts["days"]),
        ("city", "city2", parts["cities"]),
        ("colour", "colour2", parts["colours"]),
    ):
        slots[one], slots[other] = chance.sample(names, 2)
    return {
        "area": problem["area"],
        "problem": problem["title"],
        "product": product,
        "order": slots["order"],
        "details": problem["details"].strip().format_map(slots),
        "wish": problem["wish"].format_map(slots),
        "customer": f"{chance.choice(parts['first_names'])} {chance.choice(parts['last_names'])}",
        "mood": chance.choice(parts["moods"]),
        "hindrance": chance.choice(parts["hindrances"]),
        "channel": chance.choice(parts["channels"]),
        "answers": chance.choices(list(TURNS), list(TURNS.values()))[0],
    }


if __name__ == "__main__":
    for row in scenarios():
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
