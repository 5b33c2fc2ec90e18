"""One stored row as it is explained to an auditor: sections of lines, as text or as a page."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from weft.row import source_digest
from weft_api.governance import SOURCE
from weft_api.plan import Plan, prompt_version

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#222}h1{font-size:1.4rem}h2{font-size:1.05rem;margin:1.6rem 0 .3rem;border-bottom:"
    "1px solid #ddd}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.15rem 0;font:13px/1.45"
    " ui-monospace,monospace}"
)


class Section(NamedTuple):
    title: str
    lines: list[str]


def explained(row: Mapping[str, Any], plans: Mapping[int, Plan], *, whole: bool) -> list[Section]:
    """`row`: a stored row with its JSON columns as values. `plans`: by generation, of those that
    its hops ran by. `whole`: its content has the digest that it was committed with."""
    hops = row["provenance"]
    return [
        Section(f"row {row['id']}: {row['status']}", list(_summary(row, whole=whole))),
        Section("source", list(_source(row, hops))),
        *(_hop(hop, plans.get(hop["plan"])) for hop in hops if hop["step"] != SOURCE),
        Section("prompts", list(_prompts(hops, plans))),
        Section("dialogue", list(_dialogue(row))),
        Section("fields", [f"{name}: {_json(value)}" for name, value in row["data"].items()]),
    ]


def text_of(sections: Sequence[Section]) -> str:
    parts = []
    for title, lines in sections:
        if lines:
            body = "\n".join(f"  {part}" for line in lines for part in line.splitlines() or [""])
            parts.append(f"{title}\n{body}")
    return "\n\n".join(parts)


def page_of(sections: Sequence[Section], *, title: str) -> str:
    """A self-contained page: no script, nothing fetched; all of the row's texts are escaped."""
    body = "".join(
        f"<h2>{html.escape(section.title)}</h2>"
        + "".join(f"<pre>{html.escape(line)}</pre>" for line in section.lines)
        for section in sections
        if section.lines
    )
    name = html.escape(title)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src '
        f"'unsafe-inline'\"><title>{name}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{name}</h1>{body}</body></html>\n"
    )


def _summary(row: Mapping[str, Any], *, whole: bool) -> Iterator[str]:
    chain = row["chain"] or {}
    if row["reason"]:
        yield f"why: {row['reason']}"
    committed = row["committed"].isoformat()
    yield f"committed {committed}, attempts {row['attempts']}, number {row['row']}"
    if due := row["deadline"]:
        met = "met" if due["met"] else "missed"
        yield f"deadline {due['at'].isoformat(timespec='milliseconds')}, {met}"
    yield f"tokens: {row['promptTokens']:,} asked with, {row['completionTokens']:,} answered"
    yield f"content: sha256 {chain.get('digest', 'none')}, place {chain.get('sequence', 'none')}"
    told = "is as it was committed" if whole else "IS NOT WHAT WAS COMMITTED: it was tampered with"
    yield f"content {told}"


def _source(row: Mapping[str, Any], hops: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    checked = next((hop for hop in hops if hop["step"] == SOURCE), None)
    if checked is None:
        yield f"sha256 {source_digest(row['source'])} of the columns as read"
    else:
        yield f"sha256 {checked['notes']['digest']} of the columns as read, before the rules"
        yield from (_verdict(verdict) for verdict in checked["verdicts"])
    yield from (f"{name}: {_json(value)}" for name, value in row["source"].items())


def _hop(hop: Mapping[str, Any], plan: Plan | None) -> Section:
    began = datetime.fromtimestamp(hop["started"], UTC).isoformat(timespec="milliseconds")
    pool = next((p for p in plan.pools if p.name == hop["pool"]), None) if plan else None
    lines = [
        f"agent {pool.agent if pool else '(its plan is not kept)'}, pool {hop['pool']}, "
        f"instance {hop['instance']}",
        f"revision {hop['revision'] or '(none)'}, image {hop['image'] or '(none)'}, "
        f"plan {hop['plan'] or '(unknown)'}, epoch {hop['epoch']}, fork {hop['fork']}",
        f"began {began}, took {hop['seconds']:.3f} s",
        *map(_model, hop["models"]),
        *map(_tool, hop["tools"]),
        *map(_verdict, hop["verdicts"]),
    ]
    if hop["wrote"]:
        lines.append(f"set {', '.join(hop['wrote'])}")
    lines += [f"noted {name}: {_json(note)}" for name, note in (hop["notes"] or {}).items()]
    branch = f", branch {hop['branch']}" if hop.get("branch") else ""
    return Section(f"hop {hop['hop']}: {hop['step']}{branch}", lines)


def _model(call: Mapping[str, Any]) -> str:
    sampling = "".join(f", {name} {_json(v)}" for name, v in (call["sampling"] or {}).items())
    return (
        f"asked model {call['model']} with prompt {call['prompt'] or '(none)'}{sampling}, seed "
        f"{call['seed']}: {call['promptTokens']:,} + {call['completionTokens']:,} tokens, "
        f"{call['finishReason'] or 'no reason'}, {call['seconds']:.3f} s{_led_to(call)}"
    )


def _tool(call: Mapping[str, Any]) -> str:
    result = f"failed: {call['error']}" if call["error"] else f"gave {call['result']}"
    return (
        f"called tool {call['name']} (version {call['version'] or 'unknown'}) with "
        f"{call['arguments']}: {result}, {call['seconds']:.3f} s{_led_to(call)}"
    )


def _led_to(call: Mapping[str, Any]) -> str:
    return f", message {call['message']}" if call["message"] >= 0 else ""


def _verdict(verdict: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{kind} {count:,}" for kind, count in (verdict["counts"] or {}).items())
    return f"rule {verdict['rule']}: {verdict['action']}{f' ({counts})' if counts else ''}"


def _prompts(hops: Sequence[Mapping[str, Any]], plans: Mapping[int, Plan]) -> Iterator[str]:
    """The texts of the prompts that were used, from the plans that are kept; each checked against
    the version that the row's record names."""
    texts = {
        f"{prompt.name}@{prompt.version}": prompt.text
        for plan in plans.values()
        for prompt in plan.prompts
        if prompt_version(prompt.text) == prompt.version
    }
    for name in dict.fromkeys(call["prompt"] for hop in hops for call in hop["models"]):
        if name:
            yield f"{name}: {texts.get(name, '(its text is not kept, or is not of this version)')}"


def _dialogue(row: Mapping[str, Any]) -> Iterator[str]:
    for at, message in enumerate(row["messages"]):
        name = f" {message['name']}" if message["name"] else ""
        yield f"{at} {message['role']}{name}: {message['content'] or ''}"
        for call in message["tool_calls"]:
            yield f"  calls {call['function']['name']}({call['function']['arguments']})"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
