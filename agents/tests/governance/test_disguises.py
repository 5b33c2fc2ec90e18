"""What somebody might try who wants a text past the rules."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from rules_and_plans import pii, plan_of, rule

from weft import Agent, ChatMessage, Context, Row
from weft.governance.blocked import BlockedRule
from weft.governance.pii import PiiRule
from weft.governance.unmasked import unmasked
from weft.testing import run_row


class Writer(Agent):
    """Writes the messages and fields that its row holds as JSON."""

    produces = frozenset({"said"})

    async def handle(self, row: Row, ctx: Context) -> None:
        row.messages.append(ChatMessage("assistant", row["message"]))
        row.data.update(json.loads(row["fields"]))


async def written(message: str = "", fields: dict[str, Any] | None = None, **more: Any) -> str:
    """All that leaves the hop, of a row that a rule for personal data has redacted or rejected."""
    kinds = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IP_ADDRESS")
    plan = plan_of(pii(*kinds, **more), agent="test_disguises:Writer")
    walked = await run_row(plan, {"message": message, "fields": json.dumps(fields or {})})
    left = [walked.row.messages, walked.row.data, walked.reason, walked.segments]
    return msgspec.json.encode(left).decode()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("to jane\u200b@exam\u200dple.com now", "to <EMAIL_ADDRESS> now"),
        ("to \u202ejane@example.com\u202c now", "to \u202e<EMAIL_ADDRESS>\u202c now"),
        ("to jane\uff20example\uff0ecom now", "to <EMAIL_ADDRESS> now"),
        ("card \uff14111 1111 1111 111\uff11, ok", "card <CREDIT_CARD>, ok"),
        ("card 4111\u2060 1111\ufeff 1111 1111, ok", "card <CREDIT_CARD>, ok"),
        ("card 4111\u00ad1111\u00ad1111\u00ad1111, ok", "card <CREDIT_CARD>, ok"),
        (r"to jane\u0040example.com now", "to <EMAIL_ADDRESS> now"),
        (r'say {"to": "jane\\u0040example.com"}', 'say {"to": "<EMAIL_ADDRESS>"}'),
        ("nothing \u200b here, \uff2f\uff2b?", "nothing \u200b here, \uff2f\uff2b?"),
    ],
)
async def test_signs_that_are_not_seen_or_look_alike_hide_nothing(text: str, left: str) -> None:
    assert json.loads(await written(text))[0][0][1] == left


def test_blocked_terms_are_found_behind_a_disguise_too() -> None:
    blocked = BlockedRule(rule(blocked={"terms": ["acme corp"]}))
    text = "by Ac\u200bme \uff23orp."
    assert [text[hit.start : hit.end] for hit in blocked.hits(text)] == [text[3:-1]]


@pytest.mark.parametrize(
    "text",
    [
        '{"to": "jane@example.com", "to": "nobody"}',
        '  {"to": "jane\\u0040example.com"}',
        '\n["jane\\u0040example.com"]',
        '"jane\\u0040example.com"',
    ],
)
async def test_json_is_looked_at_as_what_it_says_and_as_it_stands(text: str) -> None:
    left = json.loads(await written(text))[0][0][1]
    assert "example.com" not in left
    assert "<EMAIL_ADDRESS>" in left


@pytest.mark.parametrize("key", ["202-555-0143", "2025550143", "4111111111111111", "10.0.0.1"])
async def test_a_number_that_is_the_name_of_a_field_is_no_mere_name(key: str) -> None:
    left = await written(fields={"said": {key: "Ann"}, key: 1})
    assert key not in left


async def test_of_a_rejected_row_not_even_the_names_of_its_new_fields_are_kept() -> None:
    left = await written(fields={"jane@example.com": 1}, action="reject")
    assert "governance rule personal: EMAIL_ADDRESS 1" in left
    assert "jane@" not in left


def test_a_plain_text_has_no_disguise() -> None:
    assert unmasked("Grüße aus Köln, naïve – 東京") is None
    assert unmasked("x" * 10) is None
    assert unmasked("ab\u200bc") == ("abc", [(0, 1), (1, 2), (3, 4)])


def test_a_hit_is_counted_once_though_the_text_was_looked_at_twice() -> None:
    hits = PiiRule(rule(**pii("EMAIL_ADDRESS"))).hits("jane@example.com \u200b and \uff2f")
    assert [(hit.start, hit.end) for hit in hits] == [(0, 16)]
