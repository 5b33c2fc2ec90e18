"""What is left out to save time changes nothing: the hits are those of Presidio as it comes.

`python agents/tests/governance/test_as_presidio_finds.py 20000` compares on so many texts.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator

import phonenumbers
from faker import Faker
from presidio_analyzer import predefined_recognizers as predefined
from rules_and_plans import pii, rule

from weft.governance import sieve
from weft.governance.pii import PiiRule, _with_context
from weft.governance.telephone import spans
from weft_api.governance import Pii

Span = tuple[int, int, str]
REGIONS = Pii(entities=["URL"]).regions
PRESIDIOS_OWN = {
    "EMAIL_ADDRESS": predefined.EmailRecognizer(),
    "PHONE_NUMBER": predefined.PhoneRecognizer(supported_regions=REGIONS),
    "CREDIT_CARD": predefined.CreditCardRecognizer(),
    "IBAN_CODE": predefined.IbanRecognizer(),
    "IP_ADDRESS": predefined.IpRecognizer(),
    "US_SSN": predefined.UsSsnRecognizer(),
    "URL": predefined.UrlRecognizer(),
    "DATE_TIME": predefined.DateRecognizer(),
    "IN_PAN": predefined.InPanRecognizer(),
}
LOCALES = ["en_US", "en_GB", "de_DE", "fr_FR", "en_IN", "pt_BR", "he_IL", "es_MX", "it_IT", "ja_JP"]
BETWEEN = (
    *(
        " ",
        ", ",
        "; ",
        "/",
        " / ",
        " - ",
        "-",
        ". ",
        "\n",
        "\r\n",
        "\t",
        "",
        "(",
        ") ",
        " (",
        ") (",
    ),
    *(
        " x",
        " ext. ",
        "#",
        "+",
        "~",
        "\u2013",
        " , ",
        " x 12 ",
        "@",
        ":",
        "::",
        ".",
        "..",
        "\u00a0",
    ),
    *("\u2028", "\u200b", "'", '"', "<", "> ", " call ", " my ssn is ", "%", "$"),
)


def texts(count: int, seed: int) -> Iterator[str]:
    """Values of many kinds and things that look like them, near each other and in paragraphs."""
    Faker.seed(seed)
    fake, chance = Faker(LOCALES), random.Random(seed)

    def digits(most: int) -> str:
        return "".join(chance.choices("0123456789", k=chance.randint(1, most)))

    makers = [
        *[fake.phone_number] * 4,
        *(fake.email, fake.credit_card_number, fake.iban, fake.ipv4, fake.ipv6, fake.ssn),
        *(fake.url, fake.date, fake.word, fake.sentence, fake.mac_address),
        lambda: digits(24),
        lambda: " ".join(digits(5) for _ in range(chance.randint(1, 12))),
        lambda: f"{digits(3)}.{digits(3)}.{digits(3)}.{digits(3)}",
        lambda: f"{fake.word()}@{fake.word()}",
        lambda: "".join(chance.choices("ABCDEFGHIJ", k=5)) + digits(4) + "K",
    ]
    for number in range(count):
        parts = []
        for _ in range(chance.randint(1, 8)):
            parts += [str(chance.choice(makers)()), chance.choice(BETWEEN)]
        text = "".join(parts)
        yield f"{fake.paragraph()} {text} {fake.paragraph()}" if number % 4 == 0 else text


def of_presidio(text: str) -> list[Span]:
    """Each recognizer over the whole text, and context over all results."""
    results = [
        result
        for entity, recognizer in PRESIDIOS_OWN.items()
        for result in recognizer.analyze(text, [entity], None)
    ]
    results = _with_context(text, results, list(PRESIDIOS_OWN.values()), "en")
    return sorted((r.start, r.end, r.entity_type) for r in results if r.score >= 0.4)


def compare(count: int, seed: int) -> tuple[int, list[str]]:
    """How many hits there were, and the texts where they are not the same."""
    mine = PiiRule(rule(**pii(*PRESIDIOS_OWN)))
    total, different = 0, []
    for text in texts(count, seed):
        expected = of_presidio(text)
        total += len(expected)
        if sorted(map(tuple, mine.look(text))) != expected:
            different.append(text)
    return total, different


def test_hits_are_those_of_presidio_as_it_comes() -> None:
    hits, different = compare(250, seed=1)
    assert hits > 500
    assert different == []


def test_each_countrys_telephone_numbers_are_found_as_written_there() -> None:
    types, forms = phonenumbers.PhoneNumberType.values(), range(4)  # E.164 to RFC 3966
    found = 0
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        presidios = predefined.PhoneRecognizer(supported_regions=[region, "US"])
        for kind in types:
            number = phonenumbers.example_number_for_type(region, kind)
            for form in forms if number is not None else ():
                text = f"call {phonenumbers.format_number(number, form)} or write"
                expected = [(r.start, r.end) for r in presidios.analyze(text, ["PHONE_NUMBER"])]
                assert sorted(spans(text, [region, "US"])) == sorted(expected), (region, text)
                assert sieve.suspicious("PHONE_NUMBER", text) or not expected, (region, text)
                found += len(expected)
    assert found > 2000


def test_a_number_behind_countless_false_ones_is_found() -> None:
    """The library gives up after 65,535 of them, and says nothing."""
    text = "99 " * 66_000 + "; call 202-555-0143"
    assert list(spans(text, ["US"])) == [(len(text) - 12, len(text))]


if __name__ == "__main__":
    began = time.process_time()
    found, unlike = compare(int(sys.argv[1]), seed=2)
    print(f"{found:,} hits in {sys.argv[1]} texts, {time.process_time() - began:.0f} s of CPU")
    print(f"{len(unlike)} texts differ", *map(repr, unlike[:10]), sep="\n")
