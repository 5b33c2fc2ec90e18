"""One stored row as it is explained to an auditor, as text: sections of lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from weft.row import source_digest
from weft_api.governance import SOURCE
from weft_api.plan import Plan, prompt_version


class Section(NamedTuple):
    title: str
    lines: list[str]


def explained(row: Mapping[str, Any], plans: Mapping[int, Plan], *, whole: bool) -> list[Section]:
    """`row`: a stored row with its JSON columns as values. `plans`: by generation, of those that
    its hops ran by. `whole`: its content has the digest that it was committed with."""
    hops = hops_of(row)
    return [
        Section(f"row {row['id']}: {row['status']}", list(_summary(row, whole=whole))),
        Section("source", list(_source(row))),
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


def hops_of(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """In the order in which they took effect; those of branches one branch after the other."""
    return list(row["provenance"])


def source_check(row: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]]]:
    """SHA-256 (hex) of the columns as they were read, and the verdicts of the rules on them."""
    checked = next((hop for hop in row["provenance"] if hop["step"] == SOURCE), None)
    if checked is None:
        return source_digest(row["source"]), []
    return str(checked["notes"]["digest"]), list(checked["verdicts"])


def prompt_texts(
    hops: Sequence[Mapping[str, Any]], plans: Mapping[int, Plan]
) -> dict[str, str | None]:
    """The prompts that were used, by `name@version`, from the plans that are kept; None for a text
    that is not there, or does not have the hash that the row's record names."""
    texts = {
        f"{prompt.name}@{prompt.version}": prompt.text
        for plan in plans.values()
        for prompt in plan.prompts
        if prompt_version(prompt.text) == prompt.version
    }
    used = (call["prompt"] for hop in hops for call in hop["models"])
    return {name: texts.get(name) for name in used if name}


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


def _source(row: Mapping[str, Any]) -> Iterator[str]:
    digest, verdicts = source_check(row)
    yield f"sha256 {digest} of the columns as read{', before the rules' if verdicts else ''}"
    yield from map(_verdict, verdicts)
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
    for name, text in prompt_texts(hops, plans).items():
        yield f"{name}: {text or '(its text is not kept, or is not of this version)'}"


def _dialogue(row: Mapping[str, Any]) -> Iterator[str]:
    for at, message in enumerate(row["messages"]):
        name = f" {message['name']}" if message["name"] else ""
        yield f"{at} {message['role']}{name}: {message['content'] or ''}"
        for call in message["tool_calls"]:
            yield f"  calls {call['function']['name']}({call['function']['arguments']})"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
