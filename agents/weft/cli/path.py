"""A stored row's path through the agents, hop by hop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from weft.cli import units


def path(row: Mapping[str, Any], *, whole: bool) -> RenderableType:
    """`whole`: with what each hop was asked with, and what it noted."""
    hops = list(row["provenance"] or [])
    if not hops:
        return Text("It has met no agent.", "dim")
    heading = Text("path", "bold dim")
    heading.append(f"  {_span(hops)}", "dim")
    if whole:
        return Group(heading, *(part for hop in hops for part in _hop(hop)))
    return Group(heading, Padding(_table(hops), (0, 0, 0, 2)))


def _span(hops: list[dict[str, Any]]) -> str:
    """`9 hops, 1.2 s from first to last, 0.9 s of it with agents`"""
    began = min(hop["started"] for hop in hops)
    ended = max(hop["started"] + hop["seconds"] for hop in hops)
    worked = sum(hop["seconds"] for hop in hops)
    count = f"{len(hops)} hops" if len(hops) > 1 else "1 hop"
    return (
        f"{count}, {units.short_time(max(0.0, ended - began))} from first to last, "
        f"{units.short_time(worked)} of it with agents"
    )


def _table(hops: list[dict[str, Any]]) -> Table:
    ruled = any(hop["verdicts"] for hop in hops)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name, justify in (
        ("step", "left"),
        ("at", "left"),
        ("time", "right"),
        ("model", "left"),
        ("tokens", "right"),
        ("tools", "left"),
        *([("rules", "left")] if ruled else []),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for hop in hops:
        models, tools = hop["models"] or [], hop["tools"] or []
        tokens = sum(call["promptTokens"] + call["completionTokens"] for call in models)
        calls = f" ×{len(models)}" if len(models) > 1 else ""
        table.add_row(
            f"{_branch(hop)}{hop['step']}",
            hop["instance"],
            units.short_time(hop["seconds"]),
            Text(", ".join(dict.fromkeys(call["model"] for call in models)) + calls),
            f"{tokens:,}" if models else "",
            Text(", ".join(_tool(call) for call in tools)),
            *([Text(", ".join(map(_verdict, hop["verdicts"] or [])))] if ruled else []),
        )
    return table


def _branch(hop: Mapping[str, Any]) -> str:
    """`│2 ` before the hops of a divided row's second branch."""
    return f"│{hop['branch']} " if hop.get("branch") else ""


def _tool(call: Mapping[str, Any]) -> str:
    return f"{call['name']} (failed)" if call["error"] else str(call["name"])


def _verdict(verdict: Mapping[str, Any]) -> str:
    """`personal-data: redact (EMAIL_ADDRESS 2)`"""
    counts = ", ".join(f"{kind} {count:,}" for kind, count in (verdict["counts"] or {}).items())
    return f"{verdict['rule']}: {verdict['action']}{f' ({counts})' if counts else ''}"


def _hop(hop: Mapping[str, Any]) -> Iterator[RenderableType]:
    title = Text(f"{hop['hop']}  {_branch(hop)}", "dim")
    title.append(hop["step"], "bold")
    revision = f", revision {hop['revision']}" if hop["revision"] else ""
    title.append(f"  {hop['instance']}{revision}, {units.short_time(hop['seconds'])}", "dim")
    yield Padding(title, (0, 0, 0, 2))
    for call in hop["models"] or []:
        yield Padding(_model_line(call), (0, 0, 0, 5))
    for call in hop["tools"] or []:
        yield Padding(_tool_line(call), (0, 0, 0, 5))
    for verdict in hop["verdicts"] or []:
        yield Padding(Text(f"rule {_verdict(verdict)}", "magenta"), (0, 0, 0, 5))
    for name, note in (hop["notes"] or {}).items():
        shown = json.dumps(note, ensure_ascii=False)
        yield Padding(Text(f"{name}: {shown}", "dim"), (0, 0, 0, 5))


def _model_line(call: Mapping[str, Any]) -> Text:
    text = Text(call["model"], "cyan")
    asked = f", prompt {call['prompt']}" if call["prompt"] else ""
    sampling = "".join(f", {name} {value}" for name, value in (call["sampling"] or {}).items())
    led = f", message {call['message']}" if call["message"] >= 0 else ""
    text.append(
        f"  {units.short_time(call['seconds'])}, {call['promptTokens']:,} + "
        f"{call['completionTokens']:,} tokens{asked}{sampling}, seed {call['seed']}{led}, "
        f"{call['finishReason']}"
    )
    return text


def _tool_line(call: Mapping[str, Any]) -> Text:
    text = Text(call["name"], "yellow")
    text.append(f"({call['arguments']})  {units.short_time(call['seconds'])}")
    if call["error"]:
        text.append(f"  failed: {call['error']}", "red")
    return text
