"""One stored row as a page for an auditor: one file that fetches nothing and runs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from weft.cli.audited_row import hops_of, prompt_texts, source_check
from weft_api.governance import SOURCE
from weft_api.plan import Plan

MOST_JSON = 20_000
"""Characters of one value that are shown."""


def page_of(row: Mapping[str, Any], plans: Mapping[int, Plan], *, whole: bool, title: str) -> str:
    """`row`: a stored row with its JSON columns as values; `plans` by generation; `whole`: its
    content has the digest that it was committed with. All of its texts are escaped."""
    hops = hops_of(row)
    digest, verdicts = source_check(row)
    page = _template().render(
        title=title,
        row=row,
        whole=whole,
        hops=[
            {
                **hop,
                "agent": _agent(hop, plans),
                "began": _unix(hop["started"]),
            }
            for hop in hops
            if hop["step"] != SOURCE
        ],
        messages=[
            {**message, "made_by": _makers(hops, at)} for at, message in enumerate(row["messages"])
        ],
        prompts=prompt_texts(hops, plans),
        source_digest=digest,
        source_verdicts=verdicts,
    )
    return page.lstrip() + "\n"


def _agent(hop: Mapping[str, Any], plans: Mapping[int, Plan]) -> str:
    plan = plans.get(hop["plan"])
    pool = next((each for each in plan.pools if each.name == hop["pool"]), None) if plan else None
    return pool.agent if pool else "(its plan is not kept)"


def _makers(hops: list[Mapping[str, Any]], at: int) -> list[str]:
    """What a message of the dialogue came of: `hop 2, drafter: model m`."""
    return [
        f"hop {hop['hop']}, {hop['step']}: {kind} {call[name]}"
        for hop in hops
        for kind, calls, name in (("model", "models", "model"), ("tool", "tools", "name"))
        for call in hop[calls]
        if call["message"] == at
    ]


def _unix(seconds: float) -> str:
    return _moment(datetime.fromtimestamp(seconds, UTC))


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} UTC"


def _shown(value: Any) -> str:
    """A text as it is, all else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MOST_JSON else f"{text[:MOST_JSON]}… ({len(text):,} characters)"


def _indented(text: str) -> str:
    """JSON on several lines where it is JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        return _shown(text)
    return _shown(json.dumps(value, ensure_ascii=False, indent=1))


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"shown": _shown, "indented": _indented, "moment": _moment}
    return environment.from_string(files("weft.cli").joinpath("audit_page.html").read_text("utf-8"))
