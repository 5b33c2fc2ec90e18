"""Prompts and tools that are named, and those that exist.

By convention a key of a pool's config that is called `prompt` or `prompts`, or ends in `Prompt`,
`Prompts`, `_prompt` or `_prompts`, names prompts, and `tools` names tools.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weft_api.errors import ManifestError, Path, did_you_mean
from weft_api.pipeline import SyntheticPipeline, Tool
from weft_api.pool import AgentPool
from weft_api.validation.known import Known

_PROMPT_KEY = re.compile(r"^prompts?$|Prompts?$|_prompts?$")


def reference_faults(
    pipeline: SyntheticPipeline,
    pools: Sequence[AgentPool],
    known: Known | None,
    prompt_texts: Mapping[str, str],
) -> Iterator[ManifestError]:
    prompts = {prompt.name for prompt in pipeline.spec.prompts}
    tools = {tool.name for tool in pipeline.spec.tools}
    for at, prompt in enumerate(pipeline.spec.prompts):
        ref = prompt.config_map_key_ref
        if ref is None or prompt.text is not None:
            continue
        if not prompt_texts.get(prompt.name):
            yield pipeline.fault(
                ("spec", "prompts", at, "configMapKeyRef"),
                f'there is no text in ConfigMap "{ref.name}", key "{ref.key}"',
                "make it in this namespace, or put it among the manifests of a local run",
                reason="PromptMissing",
            )
    for at, tool in enumerate(pipeline.spec.tools):
        name = tool.simulated.prompt if tool.simulated else None
        if name is not None and name not in prompts:
            path: Path = ("spec", "tools", at, "simulated", "prompt")
            yield pipeline.fault(path, *_missing("prompt", name, prompts))
        if tool.mcp is not None and tool.parameters.get("properties"):
            yield pipeline.fault(
                ("spec", "tools", at, "parameters"),
                "an MCP server's tools bring their own parameters",
                "remove the line",
            )
        yield from _tool_schemas(pipeline, at, tool)
        kind = tool.simulated.result.get("type", "object") if tool.simulated else "object"
        if kind != "object":
            yield pipeline.fault(
                ("spec", "tools", at, "simulated", "result", "type"),
                f'the answer of a simulated tool is an object, not "{kind}"',
                "write type: object and name its parts under properties",
            )
    for pool in pools:
        yield from _config(pool, known, prompts, tools)


def _tool_schemas(pipeline: SyntheticPipeline, at: int, tool: Tool) -> Iterator[ManifestError]:
    """Arguments and simulated answers are objects, as models' interfaces ask."""
    schemas: list[tuple[Path, dict[str, Any]]] = [(("parameters",), tool.parameters)]
    if tool.simulated is not None:
        schemas.append((("simulated", "result"), tool.simulated.result))
    for path, schema in schemas:
        kind = schema.get("type", "object")
        if kind != "object":
            yield pipeline.fault(
                ("spec", "tools", at, *path, "type"),
                f'must be object, not "{kind}"',
                "write type: object and name the parts under properties",
            )


def _config(
    pool: AgentPool, known: Known | None, prompts: set[str], tools: set[str]
) -> Iterator[ManifestError]:
    filled = known.configs.get(pool.metadata.name, {}) if known else {}
    for key, value in {**filled, **pool.spec.config}.items():
        kind = "prompt" if _PROMPT_KEY.search(key) else "tool" if key == "tools" else None
        if kind is None or value is None:
            continue
        path: Path = ("spec", "config", key)
        defined = prompts if kind == "prompt" else tools
        for where, name in _names(value, path):
            if not isinstance(name, str):
                yield pool.fault(
                    where, f"must name a {kind} of the pipeline", f"name one of spec.{kind}s"
                )
            elif name not in defined:
                problem, fix = _missing(kind, name, defined)
                if key not in pool.spec.config:
                    problem += " (the agent's default)"
                yield pool.fault(where, problem, fix)


def _names(value: Any, path: Path) -> list[tuple[Path, Any]]:
    """The names in a config's value: itself, or those in a list or mapping, with their paths."""
    if isinstance(value, Mapping):
        return [((*path, str(key)), item) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [((*path, at), item) for at, item in enumerate(value)]
    return [(path, value)]


def _missing(kind: str, name: str, defined: set[str]) -> tuple[str, str]:
    define = f"define it under spec.{kind}s of the pipeline"
    return f'{kind} "{name}" is not defined', did_you_mean(name, defined, otherwise=define)
