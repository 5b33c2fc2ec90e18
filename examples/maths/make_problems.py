"""Writes problems.jsonl: word problems with their answers, seeded.

python examples/maths/make_problems.py > examples/maths/problems.jsonl
"""

from __future__ import annotations

import json
import sys
from random import Random

ROWS = 120
NAMES = ("Ada", "Ben", "Carla", "Deniz", "Eva", "Farid", "Greta", "Hana", "Ivo", "Juno")
GOODS = ("apples", "stickers", "pencils", "marbles", "cookies", "stamps", "shells", "coins")


def problem(chance: Random) -> tuple[str, int]:
    """A question and its answer."""
    a, b, c = chance.randrange(3, 40), chance.randrange(2, 12), chance.randrange(2, 9)
    one, two = chance.sample(NAMES, 2)
    goods = chance.choice(GOODS)
    return chance.choice(
        [
            (f"{one} has {a} {goods} and {two} gives her {b} more. How many has she?", a + b),
            (f"A box holds {a} {goods}. How many {goods} are in {c} boxes?", a * c),
            (
                f"{one} buys {c} bags of {b} {goods} each and gives {c} {goods} to {two}. "
                f"How many are left?",
                c * b - c,
            ),
            (
                f"{one} saves {b} coins a week for {c} weeks and then finds {a} more. "
                "How many coins does she have?",
                b * c + a,
            ),
        ]
    )


if __name__ == "__main__":
    chance = Random(20260102)
    for number in range(1, ROWS + 1):
        question, answer = problem(chance)
        row = {"id": f"maths-{number:03d}", "question": question, "answer": answer}
        sys.stdout.write(json.dumps(row) + "\n")
