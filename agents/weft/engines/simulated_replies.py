"""What the simulator says where its own talk would make no sense: listed replies, and quotes.

Pure and seeded. Nothing here knows what a right answer is: listed replies are drawn by chance, and
a quote is a sentence of the text that shares words with the question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from weft.engines.simulated_text import content_words
from weft.row import ChatMessage
from weft_api.engine import Reply

_TEXT = re.compile(r"<text>(.*?)</text>", re.DOTALL)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]")
_ASKS_FOR_QUESTION = re.compile(r"\b(?:write|ask|pose)\b[^.\n]{0,60}\bquestion", re.IGNORECASE)
LATEST = 8
"""Messages at the end that a listed reply may match."""
MOST_CHARACTERS = 20_000
"""Of a text that is read: the bound on a call's cost."""


def listed(messages: Sequence[ChatMessage], replies: Sequence[Reply], chance: Random) -> str:
    """A text of the first listed reply that matches one of the user's latest messages, the last
    one first, or the instructions; the empty string where none does."""
    said = [one.content for one in reversed(messages[-LATEST:]) if one.role == "user"]
    for where in (*said, *(one.content for one in messages[:1])):
        for reply in replies:
            if reply.match in where:
                return chance.choice(reply.texts)
    return ""


def from_text(messages: Sequence[ChatMessage], rate: float, chance: Random) -> str:
    """A question about the text in the instructions, or a sentence or two of it; the empty string
    where there is none, or where the chance `rate` says so."""
    if not messages or "<text>" not in messages[0].content:
        return ""
    instructions = messages[0].content[:MOST_CHARACTERS]
    found = _TEXT.search(instructions)
    sentences = [one.strip() for one in _SENTENCE.findall(found[1])] if found else []
    sentences = [one for one in sentences if len(one) > 20]
    if not sentences:
        return ""
    if _ASKS_FOR_QUESTION.search(instructions.replace(found[1] if found else "", "")):
        words = content_words(chance.choice(sentences))[:3]
        return f"What does the text say about {' and '.join(words) or 'this'}?"
    if chance.random() >= rate:
        return ""
    asked = set(content_words(messages[-1].content))
    best = max(range(len(sentences)), key=lambda at: len(asked & set(content_words(sentences[at]))))
    return " ".join(sentences[best : best + chance.randrange(1, 3)])
