"""Terms, patterns, and functions of the user's own.

Terms and patterns are matched by RE2, whose time grows with the text's length and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import re2

from weft.governance.base import Hit, RuleFailed, TextRule
from weft.loading import LoadError, load_object
from weft_api.governance import GovernanceRule

THREADS = 4
"""Calls of a rule's function at once. One that hangs keeps its thread for ever, so that after four
of them no text can be checked any more, and the rows that come are dead letters."""
MEMORY = 64 << 20
"""Bytes that RE2 may use for one rule's automata."""
LONG = 64 << 10
"""Characters that RE2 needs about a millisecond for."""
_WORD = re.compile(r"[\w.-]{1,64}", re.ASCII)


class BlockedRule(TextRule):
    """Finds what must not be there."""

    def __init__(self, spec: GovernanceRule) -> None:
        """Raises `LoadError`."""
        super().__init__(spec)
        blocked = spec.blocked
        assert blocked is not None
        self._terms = _compiled(_any_of(blocked.terms), "terms") if blocked.terms else None
        self._patterns: list[tuple[str, Any]] = []
        for at, pattern in enumerate(blocked.patterns):
            compiled = _compiled(pattern, f"patterns[{at}]")
            if compiled.search("") is not None:
                raise LoadError(
                    f"patterns[{at}]: matches the empty text, and so every text; write one that "
                    "needs a character"
                )
            self._patterns.append((f"pattern-{at}", compiled))
        self._function: Callable[[str], Any] | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._timeout = blocked.timeout.seconds
        if blocked.python is not None:
            function = load_object(blocked.python, what="a function")
            if not callable(function) or isinstance(function, type):
                raise LoadError(f"`{blocked.python}` is not a function; name one that takes a text")
            self._function = function
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"rule-{self.name}")

    def look(self, text: str) -> Sequence[Hit]:
        found = [
            Hit(match.start(), match.end(), kind)
            for kind, pattern in self._patterns
            for match in pattern.finditer(text)
            if match.end() > match.start()
        ]
        if self._terms is not None:
            found += _terms(self._terms, text)
        if self._function is not None and (kind := self._judged(text)):
            found.append(Hit(0, len(text), kind))
        return found

    def _judged(self, text: str) -> str:
        """The kind that the user's function gives; "" where the text may pass."""
        assert self._threads is not None
        assert self._function is not None
        future = self._threads.submit(self._function, text)
        try:
            answer = future.result(self._timeout)
        except TimeoutError:
            future.cancel()
            raise RuleFailed(f"gave no verdict within {self._timeout:g} s") from None
        except Exception as error:
            # Its message may quote the text.
            raise RuleFailed(f"raised {type(error).__name__}") from None
        if answer is None or answer is False:
            return ""
        if answer is True:
            return "flagged"
        if isinstance(answer, str):
            # A sentence might quote the text; a word for the kind is what is asked for.
            return answer if _WORD.fullmatch(answer) else "flagged" if answer else ""
        raise RuleFailed(f"gave a {type(answer).__name__}; return None, True, False or a word")

    def costly(self, text: str) -> bool:
        return self._function is not None or len(text) > LONG

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _any_of(terms: Sequence[str]) -> str:
    """One pattern for all terms, in any case and with any white space; group 1 is the term."""
    longest_first = sorted(terms, key=len, reverse=True)
    parts = [r"\s+".join(map(re2.escape, term.split())) for term in longest_first]
    # RE2's \b knows ASCII only; and Go's syntax has no look-behind, so `_terms` looks to the left.
    return rf"(?i)({'|'.join(parts)})(?:$|[^\p{{L}}\p{{N}}_])"


def _terms(pattern: Any, text: str) -> list[Hit]:
    """The terms that stand in the text as words of their own."""
    found: list[Hit] = []
    at = 0
    while (match := pattern.search(text, at)) is not None:
        start, end = match.span(1)
        if start and (text[start - 1].isalnum() or text[start - 1] == "_"):
            at = start + 1
        else:
            found.append(Hit(start, end, "term"))
            at = end
    return found


def _compiled(pattern: str, where: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        told = error.args[0] if error.args else error
        text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
        raise LoadError(
            f"{where}: not a regular expression of RE2: {text}; correct it (RE2 has no look-around "
            "and no back-references)"
        ) from None
