"""The dataset card: a README that says how each column came to be, from the rows' own provenance.

The YAML at its top is what the Hugging Face hub and `datasets.load_dataset` read:
https://huggingface.co/docs/hub/datasets-cards
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import yaml

from weft.data.shapes import Column
from weft.data.survey import Survey

SIMULATED = "simulator"
"""The model name that Weft's simulated engine leaves in provenance."""
_LISTED = 20
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


class CardFacts(msgspec.Struct):
    """What the card is made from."""

    pipeline: str
    status: str
    """Of the rows that were exported."""
    counts: Mapping[str, int]
    """Rows of the table per status."""
    survey: Survey
    columns: list[Column]
    data_files: str
    """Pattern of the data files, relative to the card."""
    table_version: int
    weft_version: str


def card(facts: CardFacts) -> str:
    """The text of README.md."""
    parts = [
        _header(facts),
        f"# {facts.pipeline}",
        _summary(facts),
        "## Columns",
        _columns(facts),
        "## Agents",
        _agents(facts.survey),
        "## Models",
        _models(facts.survey),
    ]
    if facts.survey.tools:
        parts += ["## Tools", _tools(facts.survey)]
    return "\n\n".join(parts) + "\n"


def is_simulated(survey: Survey) -> bool:
    """Whether any text comes from the simulated engine."""
    return any(use.model == SIMULATED for use in survey.models)


def _header(facts: CardFacts) -> str:
    rows = facts.survey.rows
    header = {
        "pretty_name": facts.pipeline,
        "tags": ["synthetic", "weft", *(["simulated"] if is_simulated(facts.survey) else [])],
        "size_categories": [next((text for limit, text in _SIZES if rows < limit), "n>1M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": facts.data_files}],
            }
        ],
    }
    text = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---"


def _summary(facts: CardFacts) -> str:
    survey, counts = facts.survey, facts.counts
    lines = []
    if is_simulated(survey):
        lines.append(
            "> **Simulated.** A simulated engine wrote texts in this dataset: it shows a "
            "pipeline's shape and is not for training.\n"
        )
    lines.append(
        f"{survey.rows:,} {facts.status} rows, made by the Weft pipeline `{facts.pipeline}` "
        f"(Weft {facts.weft_version}, version {facts.table_version} of its output)."
    )
    lines.append(
        f"The whole run: {counts.get('accepted', 0):,} accepted, "
        f"{counts.get('rejected', 0):,} rejected, {counts.get('dead', 0):,} dead."
    )
    lines.append(
        f"Tokens of the rows here: {survey.prompt_tokens:,} of prompts, "
        f"{survey.completion_tokens:,} of completions."
    )
    if survey.unpaired:
        lines.append(
            f"**{survey.unpaired:,} rows** hold a `tool` message that answers no call before it."
        )
    return "\n".join(lines)


def _columns(facts: CardFacts) -> str:
    survey = facts.survey
    rows = [
        ("id", "string", "the row's name: the source's id field, or its place in the source"),
        ("messages", "list", _dialogue(survey)),
        ("tools", "JSON", "definitions of the tools that the dialogue was offered"),
    ]
    if facts.status != "accepted":
        rows.append(("reason", "string", f"why the row was {facts.status}"))
    for column in facts.columns:
        if column.origin == "source":
            origin = "column of the source"
        else:
            writers = survey.writers.get(column.key, Counter())
            names = [f"step {_code(step)} (pool {_code(pool)})" for step, pool in _top(writers)]
            origin = f"written by {_and(names)}" if names else "written by an agent"
        if column.name != column.key:
            origin += f", there named {_code(column.key)}"
        rows.append((column.name, str(column.type), origin))
    return _table(
        ("column", "type", "where it comes from"),
        [(_code(name), _code(kind), origin) for name, kind, origin in rows],
    )


def _dialogue(survey: Survey) -> str:
    parts = [
        f"{role} messages by {_and(f'step {_code(step)} ({_code(by)})' for step, by in _top(who))}"
        for role, who in sorted(survey.authors.items())
    ]
    return "; ".join(["the dialogue in OpenAI's chat format", *parts])


def _agents(survey: Survey) -> str:
    rows = [
        (
            _code(work.step),
            _code(work.pool),
            _code(work.revision or "–"),
            _code(work.image or "–"),
            f"{hops:,}",
        )
        for work, hops in survey.work.most_common(_LISTED)
    ]
    return _table(("step", "pool", "revision", "image", "hops"), rows, of=len(survey.work))


def _models(survey: Survey) -> str:
    if not survey.models:
        return "No model was asked."
    rows = [
        (
            _code(use.step),
            _code(use.model),
            _code(use.prompt or "–"),
            _code(use.sampling),
            f"{calls:,}",
        )
        for use, calls in survey.models.most_common(_LISTED)
    ]
    titles = ("step", "model", "prompt@hash", "sampling", "calls")
    return _table(titles, rows, of=len(survey.models))


def _tools(survey: Survey) -> str:
    rows = [
        (_code(tool), _code(step), f"{count:,}")
        for (step, tool), count in survey.tools.most_common(_LISTED)
    ]
    return _table(("tool", "step", "executions"), rows, of=len(survey.tools))


def _top(counter: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
    return [key for key, _ in counter.most_common(5)]


def _and(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _code(text: str) -> str:
    """Text as code in a table's cell: users' names must not break the page."""
    clean = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{clean if len(clean) <= 120 else clean[:119] + '…'}`"


def _table(titles: Iterable[str], rows: Sequence[tuple[str, ...]], *, of: int = 0) -> str:
    heads = list(titles)
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    if of > len(rows):
        lines.append(f"\nand {of - len(rows)} more")
    return "\n".join(lines)
