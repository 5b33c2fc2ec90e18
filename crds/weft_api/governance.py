"""Governance: the rules that each agent holds new text against before the text leaves it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from weft_api.base import Model, Rule
from weft_api.patterns import COUNTRY, ENTITY, LANGUAGE, SCOPE, TOOL
from weft_api.scalars import Fraction, Name, PythonPath, Span

SOURCE = "$source"
"""In a rule's `steps`: the source's rows, before an agent gets them."""

TAGS = "governance"
"""The row's field that lists the rules which have tagged it."""

NEEDS_MODEL = ("LOCATION", "NRP", "ORGANIZATION", "PERSON")
"""Entities of Presidio that no pattern finds, only a trained model."""

# fmt: off
ENTITIES = (
    "ABA_ROUTING_NUMBER", "AU_ABN", "AU_ACN", "AU_MEDICARE", "AU_TFN", "CA_POSTAL_CODE",
    "CA_SIN", "CREDIT_CARD", "CRYPTO", "DATE_TIME", "DE_BSNR", "DE_FUEHRERSCHEIN",
    "DE_HANDELSREGISTER", "DE_HEALTH_INSURANCE", "DE_ID_CARD", "DE_KFZ", "DE_LANR",
    "DE_PASSPORT", "DE_PLZ", "DE_SOCIAL_SECURITY", "DE_TAX_ID", "DE_TAX_NUMBER", "DE_VAT_ID",
    "EMAIL_ADDRESS", "ES_NIE", "ES_NIF", "ES_PASSPORT", "FI_PERSONAL_IDENTITY_CODE",
    "IBAN_CODE", "IN_AADHAAR", "IN_GSTIN", "IN_PAN", "IN_PASSPORT", "IN_VEHICLE_REGISTRATION",
    "IN_VOTER", "IP_ADDRESS", "IT_DRIVER_LICENSE", "IT_FISCAL_CODE", "IT_IDENTITY_CARD",
    "IT_PASSPORT", "IT_VAT_CODE", "KR_BRN", "KR_DRIVER_LICENSE", "KR_FRN", "KR_PASSPORT",
    "KR_RRN", "LOCATION", "MAC_ADDRESS", "MEDICAL_LICENSE", "NG_NIN",
    "NG_VEHICLE_REGISTRATION", "NRP", "ORGANIZATION", "PERSON", "PHONE_NUMBER", "PH_PASSPORT",
    "PH_TIN", "PH_UMID", "PL_PESEL", "SE_ORGANISATIONSNUMMER", "SE_PERSONNUMMER",
    "SG_NRIC_FIN", "SG_UEN", "TH_TNIN", "TR_LICENSE_PLATE", "TR_NATIONAL_ID",
    "UK_DRIVING_LICENCE", "UK_NHS", "UK_NINO", "UK_PASSPORT", "UK_POSTCODE",
    "UK_VEHICLE_REGISTRATION", "URL", "US_BANK_NUMBER", "US_CLAIM_NUMBER",
    "US_DRIVER_LICENSE", "US_HEALTH_INSURANCE_MEMBER_ID", "US_ITIN", "US_MBI", "US_NPI",
    "US_PASSPORT", "US_PRESCRIPTION_NUMBER", "US_PRIOR_AUTHORIZATION_NUMBER",
    "US_PROVIDER_TAX_ID", "US_REFERRAL_NUMBER", "US_SSN", "UUID", "ZA_COMPANY_REGISTRATION",
    "ZA_DRIVER_LICENSE", "ZA_ID_NUMBER", "ZA_INCOME_TAX_NUMBER", "ZA_LICENSE_PLATE",
    "ZA_PASSPORT", "ZA_TRAFFIC_REGISTER_NUMBER", "ZA_VAT_NUMBER",
)
# fmt: on
"""What Presidio 2.2 has recognizers for; a test holds it against the installed one."""

Action = Literal["redact", "reject", "tag"]
_Tokens = Annotated[int, Field(ge=1, le=100_000_000)]


class Pii(Model):
    """Personal data, found by Presidio's recognizers."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"has(self.model) || !self.entities.exists(e, e in {list(NEEDS_MODEL)})",
            f"{', '.join(NEEDS_MODEL[:-1])} and {NEEDS_MODEL[-1]} are found by a language model "
            "only, and none is named",
            "set model to a spaCy pipeline that is installed in the image, or leave these entities "
            "out",
            "entities",
        ),
    )

    entities: Annotated[
        list[Annotated[str, StringConstraints(pattern=ENTITY, min_length=1, max_length=64)]],
        Field(min_length=1, max_length=32),
    ] = Field(
        description="What to look for, by Presidio's names. Names of people and places need model.",
        examples=[["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS"]],
    )
    language: Annotated[str, StringConstraints(pattern=LANGUAGE, max_length=8)] = Field(
        default="en", description="Language of Presidio's recognizers.", examples=["en"]
    )
    threshold: Fraction = Field(
        default=0.4,
        description="Least score of a hit, from 0 to 1; weak patterns reach it only beside a word "
        "such as 'passport'.",
        examples=[0.4],
    )
    regions: Annotated[
        list[Annotated[str, StringConstraints(pattern=COUNTRY, max_length=2)]],
        Field(max_length=32),
    ] = Field(
        default_factory=lambda: ["US", "GB", "DE", "FR", "IL", "IN", "CA", "BR"],
        description="Countries whose telephone numbers are known without a + before them; each "
        "costs time.",
        examples=[["US", "GB"]],
    )
    model: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="spaCy pipeline in the image, by name or folder, for names of people, places "
        "and organisations. Without it patterns only.",
        examples=["en_core_web_lg"],
    )


class Blocked(Model):
    """What no text may hold."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # A list that is left out has no key on the API server.
            "(has(self.terms) && size(self.terms) > 0) || "
            "(has(self.patterns) && size(self.patterns) > 0) || has(self.python)",
            "blocks nothing",
            "give terms, patterns or python",
        ),
    )

    terms: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=256)]],
        Field(max_length=1000),
    ] = Field(
        default_factory=list,
        description="Words and phrases, whole and in any case.",
        examples=[["acme corp", "internal use only"]],
    )
    patterns: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=1024)]],
        Field(max_length=64),
    ] = Field(
        default_factory=list,
        description="Regular expressions in RE2's syntax, whose time does not run away: no "
        "look-around and no back-references.",
        examples=[[r"(?i)as an ai (language )?model", r"\bPRJ-\d{4}\b"]],
    )
    python: PythonPath | None = Field(
        default=None,
        description="Function in the image that is given a text and returns None or False where "
        "it may pass, else True or a word for why not. It runs in a thread.",
        examples=["my_package.checks:is_toxic"],
    )
    timeout: Span = Field(
        default=Span("5s"),
        description="Longest that python may take over one text; then the row is dead.",
        examples=["5s"],
    )


class Limits(Model):
    """How long texts may be, in tokens."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.perMessage) || has(self.perRow) || has(self.perStep)",
            "limits nothing",
            "give perMessage, perRow or perStep",
        ),
    )

    per_message: _Tokens | None = Field(
        default=None, description="Most tokens of one message.", examples=[800]
    )
    per_row: _Tokens | None = Field(
        default=None, description="Most tokens of a row's whole dialogue.", examples=[8000]
    )
    per_step: _Tokens | None = Field(
        default=None,
        description="Most tokens that one visit of a step adds to a row: messages and fields.",
        examples=[2000],
    )
    tokenizer: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="Tokenizer to count with: a folder in the image, or a name of the Hugging Face "
        "hub. Default: that of the pool's vLLM model; for other engines an estimate, one token for "
        "each 4 bytes of UTF-8.",
        examples=["Qwen/Qwen3-8B"],
    )


class AllowedValues(Model):
    """The source's rows that may be used, by a column of theirs."""

    column: Annotated[str, StringConstraints(min_length=1, max_length=253)] = Field(
        description="Column of the source.", examples=["licence"]
    )
    values: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=1024)]],
        Field(min_length=1, max_length=1000),
    ] = Field(
        description="Values that may be used, to the letter; a row with another one, or none, is "
        "not.",
        examples=[["CC-BY-4.0", "CC0-1.0", "MIT"]],
    )


class AllowedTools(Model):
    """The tools that may be called."""

    names: Annotated[
        list[Annotated[str, StringConstraints(pattern=TOOL, min_length=1, max_length=64)]],
        Field(max_length=64),
    ] = Field(
        description="Tools of this pipeline that may be called; none at all where empty.",
        examples=[["lookup_order"]],
    )


_KINDS = ("pii", "blocked", "limits", "source", "tools")


class GovernanceRule(Model):
    """One rule: of exactly one kind, with what happens where it is broken."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"{' + '.join(f'(has(self.{kind}) ? 1 : 0)' for kind in _KINDS)} == 1",
            f"a rule is exactly one of {', '.join(_KINDS[:-1])} and {_KINDS[-1]}",
            "keep the one that you mean",
        ),
        Rule(
            "self.action != 'redact' || has(self.pii) || "
            "(has(self.blocked) && !has(self.blocked.python))",
            "only pii, and blocked terms and patterns, can be redacted",
            "set action to reject or tag",
            "action",
        ),
        Rule(
            "!has(self.source) || !has(self.steps) || size(self.steps) == 0",
            "a rule about the source is of no step",
            "leave steps out",
            "steps",
        ),
    )

    name: Name = Field(
        description="Name of the rule, for verdicts and reasons.", examples=["personal-data"]
    )
    action: Action = Field(
        description="What happens where it is broken. redact: the place is overwritten. reject: "
        "the row ends at $reject, without the text. tag: the row goes on, and its field "
        "governance lists the rule. A verdict is kept in each case.",
        examples=["redact"],
    )
    steps: Annotated[
        list[Annotated[str, StringConstraints(pattern=SCOPE, min_length=1, max_length=40)]],
        Field(max_length=64),
    ] = Field(
        default_factory=list,
        description="Steps whose text it is held against; $source stands for the source's rows. "
        "Default: all steps, and the source.",
        examples=[["drafter", "$source"]],
    )
    pii: Pii | None = Field(
        default=None, description="Personal data.", examples=[{"entities": ["EMAIL_ADDRESS"]}]
    )
    blocked: Blocked | None = Field(
        default=None,
        description="Terms, patterns, or a function of your own.",
        examples=[{"terms": ["acme corp"]}],
    )
    limits: Limits | None = Field(
        default=None, description="Lengths in tokens.", examples=[{"perMessage": 800}]
    )
    source: AllowedValues | None = Field(
        default=None,
        description="Which of the source's rows may be used.",
        examples=[{"column": "licence", "values": ["CC-BY-4.0", "MIT"]}],
    )
    tools: AllowedTools | None = Field(
        default=None,
        description="Which tools may be called. Another one is never called: the model is told so "
        "(tag), or the row is rejected.",
        examples=[{"names": ["lookup_order"]}],
    )

    def holds_for(self, step: str) -> bool:
        """Whether texts of the step (`$source`: rows of the source) are held against it."""
        if self.source is not None:
            return step == SOURCE
        if step == SOURCE:
            return SOURCE in self.steps or (not self.steps and self.pii_or_blocked)
        return not self.steps or step in self.steps

    @property
    def pii_or_blocked(self) -> bool:
        return self.pii is not None or self.blocked is not None


def tags(rules: list[GovernanceRule]) -> bool:
    """Whether a rule may set the row's field `governance`."""
    return any(rule.action == "tag" for rule in rules)
