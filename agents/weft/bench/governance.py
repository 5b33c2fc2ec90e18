"""What governance costs: CPU for each kB of new text, and rows a second with and without.

The rows run through one agent in this process: decode, handle, rules, flow, encode, record. The
texts are made up here, of words, and of words with numbers and personal data among them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from weft.bench.figures import Figure, Result, at_most
from weft.bench.machine import cores, load
from weft.bench.plans import make_plan
from weft.engines import make_engine
from weft.protocol.message import Message
from weft.row import Row, encode_row
from weft.runtime.hops import Hops, Identity, Passed, make_agent
from weft_api.governance import GovernanceRule

ENTITIES_MEASURED = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS")
CHARS = 1024
TARGET = 2.0
"""Milliseconds of CPU for each kB of new text."""
SHARES = (0.0, 0.1, 1.0)
"""Of the texts that hold personal data."""


def measure(console: Console, *, quick: bool = False) -> Result:
    before = load()
    rows = 200 if quick else 2_000
    bare = asyncio.run(_run(rows, (), 0.0))
    figures = [Figure("without rules: rate", rows / bare, "rows/s", None, "one hop a row")]
    for share in SHARES:
        spent = asyncio.run(_run(rows, RULES, share))
        what = f"{share:.0%} of the texts with personal data"
        extra = 1e3 * (spent - bare) / (rows * CHARS / 1000)
        figures += [
            Figure(f"{what}: CPU", extra, "ms/kB", at_most(TARGET), "of new text, above no rules"),
            Figure(f"{what}: rate", rows / spent, "rows/s", None, "one hop a row, one core"),
        ]
    return Result(
        "governance",
        f"texts of {CHARS:,} characters; rules: {', '.join(ENTITIES_MEASURED)} redacted, and 100 "
        "blocked terms",
        cores(),
        before,
        {"characters": CHARS, "rows": rows},
        figures,
    )


RULES = (
    GovernanceRule.model_validate(
        {"name": "personal", "action": "redact", "pii": {"entities": list(ENTITIES_MEASURED)}}
    ),
    GovernanceRule.model_validate(
        {
            "name": "blocked",
            "action": "reject",
            "blocked": {"terms": [f"forbidden{n} thing" for n in range(100)]},
        }
    ),
)


async def _run(rows: int, rules: Sequence[GovernanceRule], share: float) -> float:
    """CPU seconds for the rows, once everything is loaded."""
    hops = _hops(rules)
    texts = _texts(rows + 1, share)
    await hops.handle(_message(0, texts[0]))
    await hops.handle(_message(0, f"{_personal(random.Random(0))} {texts[0]}"))
    began = time.process_time()
    for number, text in enumerate(texts[1:]):
        passed = await hops.handle(_message(number, text))
        assert isinstance(passed, Passed), passed
    return time.process_time() - began


def _hops(rules: Sequence[GovernanceRule]) -> Hops:
    plan = make_plan(
        "bench",
        Path("/unused"),
        rows=1,
        in_flight=1,
        steps=[{"name": "say", "next": [{"to": "$accept"}]}],
        pools={"say": {"agent": "weft.bench.agents:Copy"}},
    ).model_copy(update={"governance": list(rules)})
    agent = make_agent(plan, "say")
    engine = make_engine(None, seed=0, environ={})
    return Hops(plan, Identity("say", "say-0", "", ""), agent, engine)


def _message(number: int, text: str) -> Message:
    return Message(number, 1, 0, 0, "say", 0, encode_row(Row(str(number), {"text": text})))


def _personal(chance: random.Random) -> str:
    """One of each kind, other ones each time."""

    def digits(count: int) -> str:
        return "".join(chance.choices("0123456789", k=count))

    name, domain = chance.choices(("doe", "ann", "smith", "lee", "khan"), k=2)
    card = f"4{digits(14)}"
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in card[::2])
    card += str(-(doubled + sum(map(int, card[1::2]))) % 10)
    lead = chance.choice(("+1 202", "(312)", "415"))
    return (
        f"write to {name}{digits(2)}@{domain}.example.com or call {lead}-555-01{digits(2)}, card "
        f"{' '.join(card[at : at + 4] for at in range(0, 16, 4))}, from 10.{int(digits(2))}.0.1."
    )


def _texts(count: int, share: float) -> list[str]:
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnop", k=n % 9 + 2)) for n in range(2000)]
    made = []
    for _ in range(count):
        parts = chance.choices(words, k=CHARS // 6)
        parts[5:5] = [str(chance.randrange(2000)), "of", f"{chance.randrange(99)}.50", "EUR."]
        text = " ".join(parts)
        if chance.random() < share:
            text = f"{text[: CHARS // 2]} {_personal(chance)} {text[CHARS // 2 :]}"
        made.append(text[:CHARS])
    return made
