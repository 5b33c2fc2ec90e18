"""Writes questions.jsonl: things that people ask to have explained, each to somebody else.

python examples/preference/make_questions.py > examples/preference/questions.jsonl
"""

from __future__ import annotations

import json
import sys
from itertools import product

THINGS = (
    "why the sky is blue", "how a bicycle stays upright", "what inflation is",
    "how vaccines work", "why leaves change their colour", "how a refrigerator cools",
    "what a prime number is", "how the tides come about", "why bread dough rises",
    "how a touch screen knows where my finger is", "what a black hole is", "how soap cleans",
    "why we dream", "how aeroplanes fly", "what a hash function is", "why the sea is salty",
)  # fmt: skip
READERS = (
    ("a child of seven", "in three sentences"),
    ("a curious adult", "with one everyday example"),
    ("a student before an exam", "with the one mistake that is made most often"),
)

if __name__ == "__main__":
    for number, (thing, (reader, manner)) in enumerate(product(THINGS, READERS), 1):
        row = {
            "id": f"q-{number:02d}",
            "question": f"Explain {thing} to {reader}, {manner}.",
            "topic": thing,
            "reader": reader,
        }
        sys.stdout.write(json.dumps(row) + "\n")
