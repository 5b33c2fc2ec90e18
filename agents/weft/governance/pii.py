"""Personal data, by Presidio's recognizers.

The recognizers are asked one by one, and not through Presidio's engine: it runs spaCy over every
text, and passes over a pattern that ran out of time, which would let the text through.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from weft.governance import sieve
from weft.governance.base import Hit, RuleFailed, TextRule
from weft.loading import LoadError
from weft_api.governance import NEEDS_MODEL, GovernanceRule

PATTERN_SECONDS = 2.0
"""Longest that one of Presidio's patterns may take over one text; they may backtrack."""

LONG = 16 << 10
"""Characters, times entities to look for in them, that take about a millisecond."""

_making = threading.Lock()
"""Presidio takes seconds to import; several threads that need it wait for one."""


class PiiRule(TextRule):
    """Finds personal data. Presidio is loaded when the first text is checked, or by `load`."""

    def __init__(self, spec: GovernanceRule) -> None:
        """Raises `LoadError` where Presidio or the model is not installed."""
        super().__init__(spec)
        assert spec.pii is not None
        self._pii = spec.pii
        self._entities = tuple(spec.pii.entities)
        self._loaded = False
        self._asked = tuple(spec.pii.regions), spec.pii.language, spec.pii.model
        if importlib.util.find_spec("presidio_analyzer") is None:
            raise LoadError(
                "pii: Presidio is not installed here; install presidio-analyzer in the image "
                "(it is in weft[governance])"
            )
        if (model := spec.pii.model) is not None and not _is_installed(model):
            raise LoadError(
                f"pii.model: there is no spaCy pipeline `{model}` here; install it in the image, "
                "or name its folder"
            )

    def costly(self, text: str) -> bool:
        if not self._loaded:
            return True
        asked = [entity for entity in self._entities if sieve.suspicious(entity, text)]
        return len(asked) * len(text) > LONG or any(entity in NEEDS_MODEL for entity in asked)

    def load(self) -> None:
        """Import Presidio and the model, which takes seconds; once in a process."""
        for entity in self._entities:
            recognizer_of(entity, *self._asked)
        if self._pii.model is not None:
            _model(self._pii.model, self._pii.language)
        self._loaded = True

    def look(self, text: str) -> Sequence[Hit]:
        if not self._loaded:
            self.load()
        results: list[Any] = []
        recognizers: list[Any] = []
        artifacts: Any = None
        for entity in self._entities:
            if not sieve.suspicious(entity, text):
                continue
            recognizer = recognizer_of(entity, *self._asked)
            if entity in NEEDS_MODEL and artifacts is None:
                artifacts = _model(self._pii.model, self._pii.language).process_text(
                    text, self._pii.language
                )
            for start, piece in sieve.pieces(entity, text):
                for result in recognizer.analyze(piece, [entity], artifacts):
                    result.start += start
                    result.end += start
                    results.append(result)
            recognizers.append(recognizer)
        least = self._pii.threshold
        # A word beside it only ever raises a score: what is above the threshold stays there.
        if weak := [result for result in results if result.score < least]:
            results += _with_context(text, weak, recognizers, self._pii.language)
        return [
            Hit(result.start, result.end, result.entity_type)
            for result in results
            if result.score >= least and result.end > result.start
        ]


def _is_installed(model: str) -> bool:
    return Path(model, "meta.json").is_file() or importlib.util.find_spec(model) is not None


@lru_cache(maxsize=256)
def recognizer_of(entity: str, regions: tuple[str, ...], language: str, model: str | None) -> Any:
    """Presidio's recognizer of one of `ENTITIES`."""
    with _making:
        from presidio_analyzer import predefined_recognizers as predefined

        if entity == "PHONE_NUMBER":
            from weft.governance.telephone import PhoneNumbers

            return PhoneNumbers(supported_language=language, supported_regions=list(regions))
        if entity in NEEDS_MODEL:
            return predefined.SpacyRecognizer(
                supported_language=language, supported_entities=[entity]
            )
        return _by_pattern(language)[entity]


@lru_cache(maxsize=8)
def _by_pattern(language: str) -> dict[str, Any]:
    """Presidio's pattern recognizers by entity, each of their patterns with a time-out."""
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer import predefined_recognizers as predefined

    _stay_offline()
    known: dict[str, Any] = {}
    for name in predefined.__all__:
        cls = getattr(predefined, name)
        if not (isinstance(cls, type) and issubclass(cls, PatternRecognizer)):
            continue
        recognizer = cls(supported_language=language)
        for pattern in recognizer.patterns:
            _guard(pattern, recognizer.global_regex_flags)
        known[recognizer.supported_entities[0]] = recognizer
    return known


def _stay_offline() -> None:
    """*Hazard:* for each address with a domain Presidio asks tldextract, which fetches the list of
    top-level domains from the internet; the list within its package is to do."""
    from tldextract import TLDExtract, tldextract

    tldextract.TLD_EXTRACTOR = TLDExtract(suffix_list_urls=(), cache_dir=None)


class _Guarded:
    """A compiled pattern that raises `RuleFailed` when it runs out of time.

    *Hazard:* Presidio catches `TimeoutError`, logs it and goes on as if nothing had been found."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def finditer(self, text: str, timeout: float) -> Iterator[Any]:
        try:
            yield from self._compiled.finditer(text, timeout=min(timeout, PATTERN_SECONDS))
        except TimeoutError:
            raise RuleFailed(f"a pattern took more than {PATTERN_SECONDS:g} s") from None


def _guard(pattern: Any, flags: int) -> None:
    import regex

    pattern.compiled_regex = _Guarded(regex.compile(pattern.regex, flags=flags))
    pattern.compiled_with_flags = flags


def _with_context(
    text: str, results: list[Any], recognizers: list[Any], language: str
) -> list[Any]:
    """The results, with a higher score where a word such as "passport" stands before them."""
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
    from presidio_analyzer.nlp_engine import NlpArtifacts

    blank = _blank(language)
    tokens = blank(text)
    artifacts = NlpArtifacts(
        entities=[],
        tokens=tokens,
        tokens_indices=[token.idx for token in tokens],
        # A blank pipeline has no lemmas: the words themselves stand in for them.
        lemmas=[token.lower_ for token in tokens],
        nlp_engine=_Words(blank.vocab),
        language=language,
    )
    enhanced: list[Any] = LemmaContextAwareEnhancer().enhance_using_context(
        text, results, artifacts, recognizers
    )
    return enhanced


class _Words:
    """What Presidio asks of an engine to tell words that may be context."""

    def __init__(self, vocab: Any) -> None:
        self._vocab = vocab

    def is_stopword(self, word: str, language: str) -> bool:
        return bool(self._vocab[word].is_stop)

    def is_punct(self, word: str, language: str) -> bool:
        return bool(self._vocab[word].is_punct)


@lru_cache(maxsize=8)
def _blank(language: str) -> Any:
    import spacy

    return spacy.blank(language)


@lru_cache(maxsize=4)
def _model(name: str | None, language: str) -> Any:
    """Presidio's engine over an installed spaCy pipeline."""
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    with _making:
        engine = SpacyNlpEngine(models=[{"lang_code": language, "model_name": name}])
        engine.load()
        return engine
