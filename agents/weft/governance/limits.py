"""Lengths in tokens: of a message, of a row's dialogue, of what one visit of a step adds."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from threading import Lock
from typing import Any

from weft.loading import LoadError
from weft.row import ChatMessage
from weft_api.governance import GovernanceRule, Limits

BYTES_PER_TOKEN = 4
"""The estimate where there is no tokenizer: about right for English in the usual vocabularies."""
REMEMBERED = 4 << 20
"""Characters of texts whose count is remembered, so that a dialogue that comes again is not counted
again."""

log = logging.getLogger(__name__)


class LimitsRule:
    """One rule's limits, with what counts for it."""

    def __init__(self, spec: GovernanceRule, engine_tokenizer: str | None) -> None:
        """`engine_tokenizer`: that of the pool's model, where there is one. Raises `LoadError`."""
        assert spec.limits is not None
        self.name, self.action = spec.name, spec.action
        self._limits: Limits = spec.limits
        self._count = counter(spec.limits.tokenizer or engine_tokenizer)
        self.costly = self._count is not estimate
        """Whether counting may take more than about a millisecond."""

    def over(
        self, dialogue: Sequence[ChatMessage], new: Sequence[ChatMessage], fields: Sequence[str]
    ) -> dict[str, int]:
        """The limits that are broken, each with how many tokens there are. `new`: messages of this
        hop; `fields`: texts that it has set."""
        broken: dict[str, int] = {}
        limits, count = self._limits, self._count
        if limits.per_message is not None:
            longest = max((_tokens(message, count) for message in new), default=0)
            if longest > limits.per_message:
                broken["perMessage"] = longest
        if limits.per_row is not None:
            whole = sum(_tokens(message, count) for message in dialogue)
            if whole > limits.per_row:
                broken["perRow"] = whole
        if limits.per_step is not None:
            added = sum(_tokens(message, count) for message in new) + sum(map(count, fields))
            if added > limits.per_step:
                broken["perStep"] = added
        return broken


def _tokens(message: ChatMessage, count: Callable[[str], int]) -> int:
    return sum(count(text) for text in _texts(message))


def _texts(message: ChatMessage) -> Iterator[str]:
    if message.content:
        yield message.content
    for call in message.tool_calls:
        yield call.name
        yield call.arguments


@lru_cache(maxsize=16)
def counter(tokenizer: str | None) -> Callable[[str], int]:
    """Counts the tokens of a text. Raises `LoadError` where the tokenizer cannot be had."""
    return estimate if tokenizer is None else _Remembered(_loaded(tokenizer))


def estimate(text: str) -> int:
    """A token for each 4 bytes of UTF-8, rounded up."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // BYTES_PER_TOKEN)


def _loaded(name: str) -> Callable[[str], int]:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise LoadError(
            f"limits.tokenizer: `{name}` needs transformers, which is not installed here; install "
            "it in the image, or leave tokenizer out (an estimate counts then)"
        ) from None
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(name)
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise LoadError(
            f"limits.tokenizer: `{name}` cannot be loaded: {told}; name a folder in the image, or "
            "leave tokenizer out (an estimate counts then)"
        ) from None

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    return count


class _Remembered:
    """Counts each text once, while it is not too long ago. Calls may come from several threads."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def __call__(self, text: str) -> int:
        with self._lock:
            known = self._counts.get(text)
            if known is not None:
                self._counts.move_to_end(text)
                return known
        tokens = self._count(text)
        with self._lock:
            if text not in self._counts:
                self._counts[text] = tokens
                self._size += len(text)
                while self._size > REMEMBERED:
                    self._size -= len(self._counts.popitem(last=False)[0])
        return tokens
