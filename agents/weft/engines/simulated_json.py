"""JSON for the simulator: values that conform to a schema, taken from the dialogue where they fit.

Pure and seeded. Scores, verdicts and flags of one value agree with each other: all follow from one
quality in 0..1 that is drawn once per value, so a judge's `score: 2` does not come with `accept`.
"""

from __future__ import annotations

import math
import re
from random import Random
from re import _parser as _regex  # type: ignore[attr-defined]
from typing import Any

from weft.engines.simulated_text import Facts

DEEPEST = 12
"""Nesting after which optional parts are left out, so that recursive schemas end."""

ACCEPTED, REVISED = 0.6, 0.3
"""Above the first a verdict is good (78 % of all), above the second in between (19 %)."""

_GOOD = re.compile(r"accept|pass|approve|yes|good|correct|valid|ok|keep|true|excellent|high", re.I)
_BAD = re.compile(r"reject|fail|no$|bad|incorrect|invalid|drop|false|poor|wrong|low|deny", re.I)
_FLAWS = re.compile(r"unsafe|toxic|error|issue|problem|violat|leak|harm|pii", re.I)


def quality(chance: Random) -> float:
    """How good the judged thing is: 0..1, mean 0.75, with a tail to the bad."""
    return chance.betavariate(3.0, 1.0)


def value_for(schema: dict[str, Any], facts: Facts, chance: Random) -> Any:
    """A value that conforms to the schema, as far as sampling can (`not` and `if` are ignored)."""
    return _Sampler(schema, facts, chance).value(schema, "", 0)


class _Sampler:
    def __init__(self, root: Any, facts: Facts, chance: Random) -> None:
        self.root = root
        self.facts = facts
        self.chance = chance
        self.quality = quality(chance)

    def value(self, schema: Any, name: str, depth: int) -> Any:
        if schema is True or schema == {}:
            return self.prose(name)
        if "$ref" in schema:
            return self.value(self.resolved(schema["$ref"]), name, depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.one_of(schema["enum"])
        if "allOf" in schema:
            merged: dict[str, Any] = {k: v for k, v in schema.items() if k != "allOf"}
            for part in schema["allOf"]:
                part = self.resolved(part["$ref"]) if "$ref" in part else part
                merged = {
                    **merged,
                    **part,
                    "properties": {**merged.get("properties", {}), **part.get("properties", {})},
                    "required": [*merged.get("required", []), *part.get("required", [])],
                }
            if not merged["properties"]:
                del merged["properties"]
            return self.value(merged, name, depth + 1)
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self.value(self.branch(schema[choice], depth), name, depth + 1)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind is None:
            kind = (
                "object" if "properties" in schema else "array" if "items" in schema else "string"
            )
        match kind:
            case "object":
                return self.object(schema, depth)
            case "array":
                return self.array(schema, name, depth)
            case "integer":
                return int(self.number(schema, name, whole=True))
            case "number":
                return round(self.number(schema, name, whole=False), 4)
            case "boolean":
                good = self.quality > REVISED
                return not good if _FLAWS.search(name) else good
            case "null":
                return None
        return self.string(schema, name)

    def resolved(self, reference: str) -> Any:
        target = self.root
        for part in reference.lstrip("#/").split("/") if reference != "#" else []:
            target = target[part.replace("~1", "/").replace("~0", "~")]
        return target

    def branch(self, choices: list[Any], depth: int) -> Any:
        if depth > DEEPEST:
            return min(choices, key=lambda choice: len(str(choice)))
        real = [choice for choice in choices if choice.get("type") != "null"] or choices
        return real[int(self.chance.random() * len(real))]

    def one_of(self, values: list[Any]) -> Any:
        """Words of judgement go by quality; a `revise` lies between good and bad."""
        words = [value for value in values if isinstance(value, str)]
        good = [word for word in words if _GOOD.search(word) and not _BAD.search(word)]
        bad = [word for word in words if _BAD.search(word)]
        if good and len(words) == len(values):
            if self.quality > ACCEPTED:
                return good[0]
            between = [word for word in words if word not in good and word not in bad]
            if between and (self.quality > REVISED or not bad):
                return between[0]
            if bad:
                return bad[0]
        told = [word for word in words if word.lower() in self.facts.instructions]
        values = told or values
        return values[int(self.chance.random() * len(values))]

    def object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        properties = schema.get("properties", {})
        made = {
            name: self.value(inner, name, depth + 1)
            for name, inner in properties.items()
            if name in required or (depth < DEEPEST and self.chance.random() < 0.8)
        }
        extra = schema.get("additionalProperties", {})
        for name in required - made.keys():
            made[name] = self.value(extra if isinstance(extra, dict) else {}, name, depth + 1)
        while len(made) < schema.get("minProperties", 0):
            made[f"field_{len(made)}"] = self.value(
                extra if isinstance(extra, dict) else {}, "", depth + 1
            )
        return made

    def array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        made = [self.value(inner, name, depth + 1) for inner in schema.get("prefixItems", ())]
        fewest = schema.get("minItems", 0 if depth > DEEPEST else 1)
        most = schema.get("maxItems", max(fewest, 3))
        count = fewest + int(self.chance.random() * (most - fewest + 1))
        tries = 0
        while len(made) < count and schema.get("items", {}) is not False and tries < 10 * count:
            tries += 1
            item = self.value(schema.get("items", {}), name, depth + 1)
            if not schema.get("uniqueItems") or item not in made:
                made.append(item)
        return made[:most]

    def number(self, schema: dict[str, Any], name: str, *, whole: bool) -> float:
        tick = schema.get("multipleOf", 1 if whole else 0)
        least = schema.get("minimum")
        if least is None and "exclusiveMinimum" in schema:
            least = schema["exclusiveMinimum"] + (tick or 1e-4)
        most = schema.get("maximum")
        if most is None and "exclusiveMaximum" in schema:
            most = schema["exclusiveMaximum"] - (tick or 1e-4)
        if most is None:
            # Unbounded scores are taken out of ten; anything else is a small count or amount.
            most = max(10, (least or 0) * 2)
        if least is None:
            least = min(0 if "score" not in name else 1, most)
        drawn = least + (most - least) * self.quality
        if whole and not tick:
            tick = 1
        if tick:
            drawn = round(drawn / tick) * tick
            if drawn < least:
                drawn = math.ceil(least / tick) * tick
            if drawn > most:
                drawn = math.floor(most / tick) * tick
        return float(drawn)

    def string(self, schema: dict[str, Any], name: str) -> str:
        if pattern := schema.get("pattern"):
            return self.matching(pattern)
        match schema.get("format"):
            case "date":
                return f"2025-{self.draw(1, 12):02}-{self.draw(1, 28):02}"
            case "date-time":
                return (
                    f"2025-{self.draw(1, 12):02}-{self.draw(1, 28):02}T{self.draw(8, 18):02}:00:00Z"
                )
            case "time":
                return f"{self.draw(8, 18):02}:{self.draw(0, 59):02}:00Z"
            case "email":
                return f"{(self.facts.name or 'customer').lower()}@example.com"
            case "uri" | "url":
                return "https://example.com/" + "-".join(self.facts.words[:2])
            case "uuid":
                digits = f"{self.chance.getrandbits(128):032x}"
                return "-".join(
                    (
                        digits[:8],
                        digits[8:12],
                        "4" + digits[13:16],
                        "a" + digits[17:20],
                        digits[20:],
                    )
                )
        text = self.prose(name)
        while len(text) < schema.get("minLength", 0):
            text += " " + (text or self.facts.topic or "text")
        return text[: schema.get("maxLength", len(text))]

    def prose(self, name: str) -> str:
        """What a field of this name would say, from the dialogue where it says it."""
        facts, low = self.facts, name.lower()
        if low in ("verdict", "decision", "judgement", "judgment", "label"):
            return str(self.one_of(["accept", "revise", "reject"]))
        if facts.identifier and (
            low.endswith(("id", "number", "reference", "ref", "code")) or "order" in low
        ):
            return facts.identifier.lstrip("#")
        if low.endswith(("id", "number", "reference", "code")):
            return f"A-{self.draw(1000, 9999)}"
        if "mail" in low:
            return f"{(facts.name or 'customer').lower()}@example.com"
        if "date" in low:
            return f"2025-{self.draw(1, 12):02}-{self.draw(1, 28):02}"
        if low.endswith("name"):
            return facts.name or "Alex"
        if low in ("language", "lang", "locale"):
            return "en"
        if low in ("topic", "category", "intent", "subject", "title", "query", "product", "item"):
            return facts.topic
        if low.rstrip("s") in ("tag", "keyword", "topic", "label"):
            return facts.words[self.draw(0, len(facts.words) - 1)] if facts.words else "general"
        if self.quality > ACCEPTED:
            return _PRAISE[self.draw(0, len(_PRAISE) - 1)].format(topic=facts.topic)
        return _BLAME[self.draw(0, len(_BLAME) - 1)].format(topic=facts.topic)

    def draw(self, least: int, most: int) -> int:
        return least + int(self.chance.random() * (most - least + 1))

    def matching(self, pattern: str) -> str:
        """A string that matches: one from the dialogue, or one built from the pattern's parts."""
        identifiers = self.facts.identifiers
        for known in (*identifiers, *(one.lstrip("#") for one in identifiers), self.facts.name):
            if known and re.search(pattern, known):
                return known
        for word in self.facts.words:
            if re.search(pattern, word):
                return word
        return "".join(self.built(_regex.parse(pattern)))

    def built(self, parsed: Any) -> list[str]:
        made: list[str] = []
        for kind, detail in parsed:
            match str(kind):
                case "LITERAL":
                    made.append(chr(detail))
                case "NOT_LITERAL":
                    made.append("x" if chr(detail) != "x" else "y")
                case "ANY":
                    made.append("x")
                case "IN":
                    made.append(self.from_set(detail))
                case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                    least, most, inner = detail
                    times = self.draw(int(least), min(int(most), int(least) + 4))
                    for _ in range(times):
                        made += self.built(inner)
                case "SUBPATTERN":
                    made += self.built(detail[-1])
                case "ATOMIC_GROUP":
                    made += self.built(detail)
                case "BRANCH":
                    made += self.built(detail[1][self.draw(0, len(detail[1]) - 1)])
        return made

    def from_set(self, members: Any) -> str:
        refused = str(members[0][0]) == "NEGATE"
        allowed: list[str] = []
        for kind, detail in members:
            match str(kind):
                case "LITERAL":
                    allowed.append(chr(detail))
                case "RANGE":
                    allowed += [
                        chr(code) for code in range(detail[0], min(detail[1], detail[0] + 94) + 1)
                    ]
                case "CATEGORY":
                    allowed += {"CATEGORY_DIGIT": "0123456789", "CATEGORY_SPACE": " "}.get(
                        str(detail), "abcdefghijklmnopqrstuvwxyz"
                    )
        if refused:
            allowed = [one for one in "abcxyz0123456789-_ ABC" if one not in allowed] or ["~"]
        return allowed[self.draw(0, len(allowed) - 1)]


_PRAISE = (
    "The reply addresses {topic} directly and states a clear next step.",
    "Polite, complete, and consistent with what the tools returned.",
    "It covers {topic} accurately and keeps to the facts at hand.",
    "Good structure; the question about {topic} is answered in full.",
)
_BLAME = (
    "The reply does not say what will happen with {topic}.",
    "It repeats itself and leaves the question about {topic} open.",
    "Please name the next step and be specific about {topic}.",
    "The tone is fine, but the facts about {topic} are missing.",
)
