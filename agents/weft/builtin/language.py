"""A guess at a text's language from its script and its commonest words. No model, microseconds."""

from __future__ import annotations

import re
from collections import Counter

MOST_READ = 5_000
"""Characters that are looked at."""
UNSURE = "und"
"""ISO 639-2 for undetermined."""

_WORD = re.compile(r"[^\W\d_]+")
_COMMON = {
    "en": "the and is to of you that it in for your have with this be not are on my can was i",
    "de": "der die und das ist ich nicht sie ein zu mit auf für es wir eine den haben bitte wie",
    "fr": "le la les et est je vous que pas des une pour dans mon votre avec sur il ce ai nous",
    "es": "el la los que y es no en un una por con para mi su lo se está puede usted muy",
    "it": "il che di è e non un una per con mi la sono ho del si come più questo gli anche",
    "pt": "o que e não de um uma para com meu você está em do da os por isso mais muito seu",
    "nl": "de het een en is ik niet dat van u met voor op mijn kan te wij heb zijn maar",
    "sv": "och att det är jag inte en som på med för min har kan du vi den till om av",
    "pl": "i nie to się na jest że w z do mam dla jak czy mój proszę po ale już tak",
}
_WORDS = {code: frozenset(words.split()) for code, words in _COMMON.items()}
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
)


def guess_language(text: str) -> str:
    """An ISO 639-1 code, or `und` where there is too little to go by."""
    text = text[:MOST_READ].lower()
    letters = sum(map(str.isalpha, text))
    for code, script in _SCRIPTS:
        if letters and len(script.findall(text)) > letters * 0.2:
            return code
    words = _WORD.findall(text)
    counted = Counter(words)
    hits = {code: sum(counted[word] for word in common) for code, common in _WORDS.items()}
    best = max(hits, key=lambda code: hits[code])
    others = max(count for code, count in hits.items() if code != best)
    if len(words) < 3 or hits[best] < max(2, len(words) * 0.08) or hits[best] == others:
        return UNSURE
    return best
