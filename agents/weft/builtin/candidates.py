"""Several candidates for one answer, the choice among them, and the answers that were not kept.

A row carries the candidates for its last answer in `candidates` until a validator has chosen, and
the answers that were worse than what took their place in `rejected_answers`:
`{"message": index of the answer in the dialogue, "content": text, "score": …, "reason": …}`. The
messages before that index are the same as when the answer was rejected, so the two make a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from weft.row import REJECTED_ANSWERS, ChatMessage, Row

CANDIDATES = "candidates"
MOST_REJECTED = 32
"""Rejected answers that a row keeps; the oldest are forgotten first."""


class Candidate(msgspec.Struct):
    """An answer, and what a validator thinks of it."""

    text: str
    good: bool
    """It would be accepted."""
    score: float | None = None
    reason: str = ""


def offered(row: Row) -> list[str]:
    """The candidates for the row's last message; none where it is no answer any more."""
    texts = row.data.get(CANDIDATES)
    if not texts or not row.messages or row.messages[-1].content != texts[0]:
        row.data.pop(CANDIDATES, None)
        return []
    return [str(text) for text in texts]


def put_in_place(row: Row, text: str) -> Row:
    """A copy of the row that has this text as its last answer; it shares the other messages."""
    answer = ChatMessage("assistant", text)
    return Row(row.id, row.source, dict(row.data), [*row.messages[:-1], answer], row.tools)


def choose(row: Row, candidates: Sequence[Candidate]) -> int:
    """Leave the best candidate in the row, and keep what was worse. Gives its place.

    A good one goes before others, then the higher score counts, then the earlier place.
    """
    best = max(range(len(candidates)), key=lambda at: (*_rank(candidates[at]), -at))
    kept = candidates[best]
    row.data.pop(CANDIDATES, None)
    row.messages[-1].content = kept.text
    for candidate in candidates:
        # Of two that are alike in rank nothing says which one is to be preferred.
        if candidate.text != kept.text and _rank(candidate) < _rank(kept):
            keep_rejected(row, len(row.messages) - 1, candidate)
    return best


def _rank(candidate: Candidate) -> tuple[bool, float]:
    return candidate.good, candidate.score or 0.0


def keep_rejected(row: Row, message: int, answer: Candidate) -> None:
    """Remember an answer that stood, or could have stood, at this place of the dialogue."""
    entry: dict[str, Any] = {"message": message, "content": answer.text}
    if answer.score is not None:
        entry["score"] = answer.score
    if answer.reason:
        entry["reason"] = answer.reason[:500]
    row.data[REJECTED_ANSWERS] = [*row.data.get(REJECTED_ANSWERS, []), entry][-MOST_REJECTED:]


def forget_after(row: Row, message: int) -> None:
    """The dialogue is cut after this place: what was rejected later has no beginning any more."""
    if REJECTED_ANSWERS in row.data:
        kept = [one for one in row.data[REJECTED_ANSWERS] if one["message"] <= message]
        row.data[REJECTED_ANSWERS] = kept
        if not kept:
            del row.data[REJECTED_ANSWERS]
