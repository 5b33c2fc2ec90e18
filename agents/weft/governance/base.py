"""What every rule offers: a text in, what is wrong with it out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from weft.governance.unmasked import unmasked
from weft_api.governance import GovernanceRule


class RuleFailed(Exception):
    """A rule that could not be evaluated. One line, without any of the text."""


class Hit(NamedTuple):
    """A place in a text, as offsets of characters; `kind` is never the text itself."""

    start: int
    end: int
    kind: str


class TextRule(ABC):
    """A rule that looks at one text at a time: `pii`, `blocked`.

    Calls come from several threads. Whatever `hits` raises means that the rule could not be
    evaluated, and then the row does not go on.
    """

    def __init__(self, spec: GovernanceRule) -> None:
        self.name = spec.name
        self.action = spec.action

    def hits(self, text: str) -> Sequence[Hit]:
        """All places that break the rule, also behind a disguise (`unmasked`); none is empty."""
        found = self.look(text)
        disguised = unmasked(text)
        if disguised is None:
            return found
        plain, places = disguised
        behind = [
            Hit(places[hit.start][0], places[hit.end - 1][1], hit.kind) for hit in self.look(plain)
        ]
        return list(dict.fromkeys([*found, *behind]))

    @abstractmethod
    def look(self, text: str) -> Sequence[Hit]:
        """All places of the text, as it stands, that break the rule; none is empty."""

    def costly(self, text: str) -> bool:
        """Whether `hits` may take more than about a millisecond for this text."""
        return False

    def load(self) -> None:  # noqa: B027  most rules are ready
        """Get ready for the first text. Blocks, for seconds where libraries are large."""

    def close(self) -> None:  # noqa: B027  most rules hold nothing
        """Let go of everything."""


def redacted(text: str, hits: Sequence[Hit]) -> str:
    """The text with each place overwritten by its kind (`<EMAIL_ADDRESS>`). Of places that overlap
    the whole is overwritten, by the kind of the longest."""
    out: list[str] = []
    at = 0
    for start, end, kind in _merged(hits):
        out += [text[at:start], f"<{kind}>"]
        at = end
    out.append(text[at:])
    return "".join(out)


def _merged(hits: Sequence[Hit]) -> list[Hit]:
    merged: list[Hit] = []
    longest = 0
    for hit in sorted(hits):
        if merged and hit.start < merged[-1].end:
            last = merged[-1]
            kind = hit.kind if hit.end - hit.start > longest else last.kind
            longest = max(longest, hit.end - hit.start)
            merged[-1] = Hit(last.start, max(last.end, hit.end), kind)
        else:
            merged.append(hit)
            longest = hit.end - hit.start
    return merged
