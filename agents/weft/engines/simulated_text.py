"""Text for the simulator: turns of a dialogue that pick up what the dialogue is about.

Pure and seeded: all chance comes from the `Random` that is handed in. The text is no model's; it is
there so that pipelines can be built, tested and looked at without one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from weft.row import ChatMessage

MOST_CHARACTERS = 4000
"""Of a message that is read for facts: the bound on a call's cost."""

MOST_IDENTIFIERS = 8

CHARACTERS_PER_TOKEN = 4
"""The usual rule of thumb for English; the simulator counts all its tokens by it."""

# Begins with one set of characters, which `re` skips to quickly; `identifiers` does the rest.
_IDENTIFIER = re.compile(r"[#A-Z][A-Z]{0,4}-?\d{2,}\w*")
_NAME = re.compile(
    r"(?:[Nn]ame is|[Nn]ame:|[Cc]ustomer:|[Cc]ustomer|Dear|Hello,? I'm) ([A-ZÀ-Þ][^\W\d_]{2,})"
)
_LABELLED = re.compile(
    r"^[\W_]*(?:topic|issue|problem|product|item|subject|scenario|question|task|request|intent|goal)"
    r"[\W_]*:\s*(.{3,120})$",
    re.IGNORECASE | re.MULTILINE,
)
_STORY = re.compile(
    r"^[\W_]*(?:what happened|details|situation|background)[\W_]*:\s*(.{3,400})$",
    re.IGNORECASE | re.MULTILINE,
)
_WISH = re.compile(
    r"^[\W_]*(?:what you want|wish|what you need)[\W_]*:\s*(.{3,200})$",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"[a-z][a-z\-]{3,}")
_ANY_WORD = re.compile(r"[a-z][a-z\-]*|[.,;:!?\n]")
_CUSTOMER = re.compile(  # Over lower-case text: without IGNORECASE it is four times as fast.
    r"\b(?:you are|act as|play|speak as|write as|simulate) (?:the|a|an) (?:\w+ ){0,2}?"
    r"(?:customer|user|client|caller|shopper|student|patient)\b"
    r"|\b(?:next|first|opening) (?:customer|user|client)(?:'s)? (?:message|turn|line)\b"
    r"|\b(?:customer|user|client)'s (?:next|first|opening) (?:message|turn|line)\b"
)
_STOP = frozenset(
    """about above accept after again against agent agents also answer assistant because been before
    being below between both call came cannot come could customer customers dear dialogue does
    doing down during each else even ever every following from further give given gives goes
    good have having hello help helpful here hers himself into itself json judge just keep know
    language later like line make many message messages might more most much must need needs
    never next once only other ours over please polite possible problem product provide question
    really reason reject reply request respond revise role same says scenario score sentence
    short should since some someone something step still such support system take tell than
    thank thanks that their theirs them then there these they thing things this those through
    today tool tools topic turn turns under until upon user users verdict very want wants well
    were what when where whether which while will with within without word words would write yes
    you're your yours""".split()  # noqa: SIM905
)


class Facts(NamedTuple):
    """What a dialogue is about, as far as can be seen at a glance."""

    topic: str
    identifier: str
    """`order A-1042`, or the empty string."""
    name: str
    result: str
    """What the latest tool said, as words; empty when the last turn is no tool's."""
    words: tuple[str, ...]
    """Content words of the latest turns, most telling first."""
    customer: bool
    """Whether the next turn is to be the customer's."""
    identifiers: tuple[str, ...] = ()
    """All of them, those of the latest turns first."""
    story: str = ""
    """What the instructions say has happened, for the customer to tell."""
    wish: str = ""
    instructions: str = ""
    """The system message, in lower case."""


def facts_of(messages: list[ChatMessage]) -> Facts:
    """Read the instructions and the last turns; cost is bounded however long the dialogue is."""
    head = [message for message in messages[:2] if message.role in ("system", "user")]
    recent = [message for message in messages[-4:] if message.role in ("user", "assistant")]
    instructions = "\n".join(message.content[:MOST_CHARACTERS] for message in head)
    latest = "\n".join(message.content[:MOST_CHARACTERS] for message in reversed(recent))
    everything = instructions + "\n" + latest
    known = identifiers(f"{latest}\n{instructions}")
    named = _NAME.search(everything)
    words = content_words(latest)
    labelled = _LABELLED.search(instructions)
    story, wish = _STORY.search(instructions), _WISH.search(instructions)
    return Facts(
        topic=_topic(labelled[1] if labelled else "", latest or instructions),
        identifier=known[0] if known else "",
        name=named[1] if named else "",
        result=told(messages[-1].content) if messages and messages[-1].role == "tool" else "",
        words=tuple(words[:12]),
        customer=_CUSTOMER.search(instructions.lower()) is not None
        and not (messages and messages[-1].role == "tool"),
        identifiers=known,
        story=story[1].strip() if story else "",
        wish=wish[1].strip(" .") if wish else "",
        instructions=head[0].content[:MOST_CHARACTERS].lower()
        if head and head[0].role == "system"
        else "",
    )


def identifiers(text: str) -> tuple[str, ...]:
    """What looks like a number of an order or the like: `#123`, `A-1042`, `RMA3321`; a few."""
    found: list[str] = []
    for match in _IDENTIFIER.finditer(text):
        token, at = match[0], match.start()
        if at and (text[at - 1].isalnum() or text[at - 1] in "_-"):
            continue
        if token[0] == "#":
            fits = len(token) > 3 and token[1:].isdigit()
        else:
            fits = "-" in token or (len(token) > 4 and token[1].isalpha() and token[-3:].isdigit())
        if fits and token not in found:
            found.append(token)
            if len(found) == MOST_IDENTIFIERS:
                break
    return tuple(found)


def _topic(label: str, text: str) -> str:
    """A noun phrase, as well as can be had without grammar: what a short label says, or the first
    two telling words that stand side by side."""
    phrase = _phrase(label)
    if phrase and phrase.count(" ") < 5:
        return phrase
    run: list[str] = []
    for word in _ANY_WORD.findall((label or text).lower()):
        if len(word) < 4 or word in _STOP:
            if len(run) > 1:
                break
            run = []
        else:
            run.append(word)
    return f"the {' '.join(run[:2])}" if run else "your request"


def content_words(text: str) -> list[str]:
    """Distinct telling words in order of first use, longest of equal use first."""
    counted: dict[str, int] = {}
    for word in _WORD.findall(text.lower()):
        if word not in _STOP and word not in _OWN:
            counted[word] = counted.get(word, 0) + 1
    return sorted(counted, key=lambda word: -counted[word])


def told(content: str) -> str:
    """A tool's result as a phrase: `status shipped, carrier UPS`."""
    try:
        value = json.loads(content[:MOST_CHARACTERS])
    except ValueError:
        return _phrase(content)
    parts = _parts(value, "", [])
    return ", ".join(parts[:4]) or "nothing on record"


def _parts(value: Any, label: str, into: list[str]) -> list[str]:
    if len(into) >= 4:
        return into
    if isinstance(value, dict):
        for key, inner in value.items():
            _parts(inner, str(key).replace("_", " "), into)
    elif isinstance(value, list):
        for inner in value[:2]:
            _parts(inner, label, into)
    elif value is not None and value != "":
        shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        into.append(f"{label} {shown}".strip()[:80])
    return into


def _phrase(text: str) -> str:
    line = text.strip().split("\n", 1)[0].strip(" .!?\"'`*")
    if len(line) <= 60:
        return line
    return line[:60].rsplit(" ", 1)[0]


def turn(
    facts: Facts, turns: int, characters: int, chance: Random, earlier: Sequence[str] = ()
) -> str:
    """The next turn: about `characters` long, as the customer or the assistant would say it.

    `turns` is the number of the speaker's turns so far; it decides between opening and middle.
    What `earlier` turns have said is not said again while there is anything else to say.
    """
    opening: tuple[str, ...]
    body: tuple[str, ...]
    if facts.customer:
        opening, body = (_CUSTOMER_OPENING if turns == 0 else _CUSTOMER_NEXT), _CUSTOMER_BODY
    elif facts.result:
        opening, body = _ASSISTANT_RESULT, _ASSISTANT_BODY
    else:
        opening, body = (_ASSISTANT_OPENING if turns == 0 else _ASSISTANT_NEXT), _ASSISTANT_BODY
    about = facts.identifier or facts.topic
    slots = {
        "topic": facts.topic,
        "about": about,
        "hello": f"Hello {facts.name}" if facts.name else "Hello",
        "name": f", {facts.name}" if facts.name else "",
        "result": facts.result,
        "days": str(chance.randrange(2, 9)),
        "hours": str(chance.choice((2, 4, 12, 24, 48))),
    }
    said = "\n".join(earlier)
    text = _fresh(opening, slots, said, chance)
    if facts.customer and turns == 0 and facts.story:
        text += f" {facts.story}"
    elif facts.customer and turns == 1 and facts.wish:
        text += f" What I would like is {facts.wish}."
    size = len(body)
    at, stride = int(chance.random() * size), _STRIDES[int(chance.random() * len(_STRIDES))]
    left = size if said else 0
    while len(text) < characters:
        at = (at + stride) % size
        left -= 1
        line = body[at].format_map(slots)
        if left <= 0 or line not in said:
            text += " " + line
    return text


def _fresh(lines: Sequence[str], slots: dict[str, str], said: str, chance: Random) -> str:
    """One of the lines, if possible one that was not said before."""
    at = int(chance.random() * len(lines))
    for line in (*lines[at:], *lines[:at]):
        text = line.format_map(slots)
        if text not in said:
            return text
    return lines[at].format_map(slots)


# Each body has a prime number of lines, so that every stride visits all before one comes twice.
_STRIDES = (1, 3, 5, 7)

_CUSTOMER_OPENING = (
    "Hi, I have a problem with {topic} and hope you can help.",
    "Hello, I am writing about {about}.",
    "Hi there, could someone look into {topic} for me?",
    "Good morning. I need some help with {topic}, please.",
    "Hey, I have been waiting for news about {about} for {days} days now.",
)
_CUSTOMER_NEXT = (
    "Thanks for getting back to me so quickly.",
    "All right, that makes sense so far.",
    "Hm, that is not quite what I was hoping for.",
    "Okay, I have tried that, and it is still the same.",
    "I see. One more thing about {about}, though.",
)
_CUSTOMER_BODY = (
    "It started about {days} days ago and has not changed since.",
    "I already looked at the help pages, but they did not answer my question.",
    "Could you tell me what happens next with {about}?",
    "I would rather not have to start over.",
    "The last person I talked to said that it would take {hours} hours.",
    "Is there anything else you need from me?",
    "I can send a screenshot if that makes it easier.",
    "What I need to know is whether {topic} can be sorted out this week.",
    "I have used your service for years and this is the first time I had to write.",
    "If that is not possible, I would like to know what my options are.",
    "Please note that I cannot be reached by phone before the evening.",
    "To be honest, this has cost me more time than I have.",
    "I checked twice, and everything on my side looks right.",
)
_ASSISTANT_OPENING = (
    "{hello}, thank you for reaching out about {about}.",
    "{hello}, I am sorry for the trouble with {topic}, and I will gladly help.",
    "Thank you for the details{name}. Let me look at {topic} with you.",
    "{hello}, I understand, and I can see why {topic} matters here.",
    "{hello}, good question. Here is how it works with {topic}.",
)
_ASSISTANT_NEXT = (
    "Thank you for the details{name}. Let me look at {topic} once more.",
    "I understand{name}.",
    "That is a fair question{name}.",
    "You are right to ask{name}.",
    "Of course{name}. Here is what I can do about {topic}.",
)
_ASSISTANT_RESULT = (
    "Thank you for waiting{name}. I have checked {about}: {result}.",
    "I have looked it up now{name}. For {about} I see: {result}.",
    "Here is what our system shows for {about}: {result}.",
    "Good news{name}, I found the record. It says: {result}.",
)
_ASSISTANT_BODY = (
    "The first thing to check is whether your contact details are still up to date.",
    "From what I can see, nothing on your side has gone wrong.",
    "I have made a note on {about}, so that you will not have to explain it again.",
    "This usually takes {hours} hours, and you will get a confirmation by e-mail.",
    "If it has not changed after {days} days, please write again and mention {about}.",
    "In the meantime you can go on using everything else as usual.",
    "As a next step I suggest that we go through {about} together.",
    "Would it be all right for you if I go ahead with that?",
    "Please let me know if any of this does not match what you see.",
    "There is no charge for this, as it falls under our regular terms.",
    "Some customers prefer to wait until the current period ends, which is fine as well.",
    "I know that this is not ideal, and I appreciate your patience.",
    "You can follow the progress in your account at any time.",
    "Should you change your mind, you can undo it within {days} days.",
    "For security I will never ask for your password here.",
    "Is there anything about {topic} that I have missed?",
    "I have also asked a colleague to keep an eye on {about}.",
)

_OWN = frozenset(
    _WORD.findall(
        " ".join(
            _CUSTOMER_OPENING
            + _CUSTOMER_NEXT
            + _CUSTOMER_BODY
            + _ASSISTANT_OPENING
            + _ASSISTANT_NEXT
            + _ASSISTANT_RESULT
            + _ASSISTANT_BODY
        ).lower()
    )
) - {"account", "password", "phone", "charge"}
"""Words of our own lines: they tell nothing about what a dialogue is about, but for a few."""
