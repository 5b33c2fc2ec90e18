"""Terms and patterns: what they match, and that no text makes them slow."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rules_and_plans import rule

from weft.governance.base import redacted
from weft.governance.blocked import BlockedRule


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("ask ACME Corp today", "ask <term> today"),
        ("acme\n corp, acme corp", "<term>, <term>"),
        ("acmecorp and macme corp and acme corps", None),
        ("new york", "<term>"),
        ("newer", None),
        ("a new idea", "a <term> idea"),
        ("éacme corp", None),
        ("straße", "<term>"),
    ],
)
def test_terms_are_found_as_words_of_their_own(text: str, left: str | None) -> None:
    terms = ["acme corp", "new", "new york", "straße"]
    blocked = BlockedRule(rule(action="redact", blocked={"terms": terms}))
    assert redacted(text, blocked.hits(text)) == (text if left is None else left)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["ab", "a b", "b", " ", "-", "x", "1"]), max_size=12))
def test_no_term_is_left_after_redaction(parts: list[str]) -> None:
    blocked = BlockedRule(rule(action="redact", blocked={"terms": ["ab", "a b", "b"]}))
    text = "".join(parts)
    assert not blocked.hits(redacted(text, blocked.hits(text)))


def test_a_pattern_that_would_backtrack_for_ever_takes_no_time() -> None:
    blocked = BlockedRule(rule(blocked={"patterns": ["(a+)+$", "(x+x+)+y"]}))
    began = time.monotonic()
    blocked.hits("a" * 50_000 + "!" + "x" * 50_000)
    assert time.monotonic() - began < 5
